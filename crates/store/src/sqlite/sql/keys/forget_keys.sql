-- Examines only the oldest: later numbers were used later.
delete from idempotency_keys
where number in (
    select number from (
        select number, used_at from idempotency_keys
        order by number
        limit 100
    )
    where used_at < ?1
)
