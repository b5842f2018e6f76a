-- Makes a key the newest.
update idempotency_keys
set number = (select max(number) + 1 from idempotency_keys where pool = 'default')
where pool = 'default' and number = ?1
