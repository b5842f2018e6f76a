select number, lease_id, server, heard_at, until from tickets where pool = 'default'
