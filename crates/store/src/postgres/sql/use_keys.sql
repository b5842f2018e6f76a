-- Numbers go on from the newest key's. Where none is left, they go on from the fence of before this
-- batch, which none can have reached: each key has its lease, and with it a fence of its own.
insert into token_manager.idempotency_keys (
    pool, number, key, lease_id, asked_lease, asked_wait, used_at
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
        $2::bigint - cardinality($4::text[])
    ),
    used.key, used.lease_id, used.asked_lease, used.asked_wait, $3::timestamptz
from unnest($4::text[], $5::uuid[], $6::bigint[], $7::bigint[])
    with ordinality as used (key, lease_id, asked_lease, asked_wait, place)
