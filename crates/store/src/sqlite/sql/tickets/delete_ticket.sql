delete from tickets where lease_id = ?1 and pool = 'default'
