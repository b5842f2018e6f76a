insert into idempotency_keys (
    number, user_id, key, lease_id, asked_lease_micros, asked_wait_micros, asked_token, used_at
)
values (
    (select coalesce(max(number), 0) + 1 from idempotency_keys),
    ?1, ?2, ?3, ?4, ?5, ?6, ?7
)
