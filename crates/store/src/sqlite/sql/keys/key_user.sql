select user_id from idempotency_keys where pool = 'default' and number = ?1
