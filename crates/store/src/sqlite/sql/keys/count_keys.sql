select coalesce(
    (select max(number) from idempotency_keys)
    - (select min(number) from idempotency_keys)
    + 1,
    0
)
