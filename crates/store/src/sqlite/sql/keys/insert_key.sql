insert into idempotency_keys (
    pool, number, user_id, key, lease_id, asked_lease_micros, asked_wait_micros, used_at
)
values (
    'default',
    (select coalesce(max(number), 0) + 1 from idempotency_keys where pool = 'default'),
    ?1, ?2, ?3, ?4, ?5, ?6
)
