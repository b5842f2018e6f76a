-- The numbers of the oldest and the newest key, neither below $1; and each requested key that is
-- remembered, with its lease and with the lease that was evicted for it. One row without a key if none
-- is remembered. Limits make each lookup use an index, under any statistics of the tables.
select
    (
        select number from token_manager.idempotency_keys
        where number >= $1::bigint
        order by number
        limit 1
    ) as oldest,
    (
        select number from token_manager.idempotency_keys
        where number >= $1::bigint
        order by number desc
        limit 1
    ) as newest,
    found.*
from (values (true)) as once
left join lateral (
    select
        used.key, used.user_id, used.asked_lease, used.asked_wait, used.asked_token,
        (
            select token.value from token_manager.tokens as token
            where token.id = lease.token_id
            limit 1
        ),
        {lease: lease},
        {lease: before}
    from unnest($2::text[], $3::uuid[]) as asked (key, user_id)
    cross join lateral (
        select * from token_manager.idempotency_keys as one
        where one.key = asked.key and one.user_id = asked.user_id
        limit 1
    ) as used
    cross join lateral (
        select * from token_manager.leases as one where one.id = used.lease_id limit 1
    ) as lease
    left join lateral (
        select * from token_manager.leases as one
        where one.token_id = lease.token_id and one.previous_fence < lease.previous_fence
        order by one.previous_fence desc
        limit 1
    ) as before on before.fence = lease.previous_fence and before.end_reason = 'evicted'
) as found on true
