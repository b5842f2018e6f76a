-- Numbers continue from the newest key's. If no key is left, they continue from the fence before this
-- batch, which no number can have reached: each key has a lease, and each lease its own fence.
insert into token_manager.idempotency_keys (
    pool, number, user_id, key, lease_id, asked_lease, asked_wait, used_at
)
select
    $1::integer,
    used.place + coalesce(
        (
            select number from token_manager.idempotency_keys
            where pool = $1::integer
            order by number desc
            limit 1
        ),
        $2::bigint - cardinality($4::uuid[])
    ),
    used.user_id, used.key, used.lease_id, used.asked_lease, used.asked_wait, $3::timestamptz
from unnest($4::uuid[], $5::text[], $6::uuid[], $7::bigint[], $8::bigint[])
    with ordinality as used (user_id, key, lease_id, asked_lease, asked_wait, place)
