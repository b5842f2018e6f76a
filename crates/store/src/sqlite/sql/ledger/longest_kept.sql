select coalesce(max(expires_at - started_at), 0) from leases
