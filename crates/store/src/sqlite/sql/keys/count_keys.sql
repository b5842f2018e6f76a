select coalesce(
    (select max(number) from idempotency_keys where pool = 'default')
    - (select min(number) from idempotency_keys where pool = 'default')
    + 1,
    0
)
