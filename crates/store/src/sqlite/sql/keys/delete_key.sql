delete from idempotency_keys where number = ?1
