update tickets set server = ?2, heard_at = ?3 where pool = 'default' and lease_id = ?1
