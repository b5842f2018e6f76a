update tickets set heard_at = ?2 where server = ?1
