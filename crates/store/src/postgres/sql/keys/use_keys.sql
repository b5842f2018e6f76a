-- Numbers continue from the newest key's. If no key is left, they continue from the fence before this
-- batch, which no number can have reached: each key has a lease, and each lease its own fence.
insert into token_manager.idempotency_keys (
    number, user_id, key, lease_id, asked_lease, asked_wait, asked_token, used_at
)
select
    used.place + coalesce(
        (
            select number from token_manager.idempotency_keys
            order by number desc
            limit 1
        ),
        $1::bigint - cardinality($3::uuid[])
    ),
    used.user_id, used.key, used.lease_id, used.asked_lease, used.asked_wait, used.asked_token,
    $2::timestamptz
from unnest($3::uuid[], $4::text[], $5::uuid[], $6::bigint[], $7::bigint[], $8::boolean[])
    with ordinality as used (user_id, key, lease_id, asked_lease, asked_wait, asked_token, place)
