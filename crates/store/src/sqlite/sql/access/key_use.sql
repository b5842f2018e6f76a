select last_used_at from api_keys where id = ?1
