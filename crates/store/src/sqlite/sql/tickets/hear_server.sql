update tickets set heard_at = ?2 where pool = 'default' and server = ?1
