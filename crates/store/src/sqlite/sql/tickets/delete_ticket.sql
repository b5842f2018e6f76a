delete from tickets where lease_id = ?1
