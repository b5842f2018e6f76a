update tickets set server = ?2, heard_at = ?3 where lease_id = ?1
