select user_id from idempotency_keys where number = ?1
