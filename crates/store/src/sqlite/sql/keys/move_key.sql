-- Makes a key the newest.
update idempotency_keys
set number = (select max(number) + 1 from idempotency_keys)
where number = ?1
