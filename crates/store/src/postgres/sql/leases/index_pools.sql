-- Adds the oldest block of leases that is complete, because later leases exist, to the index of pools.
-- Returns the block, if there is one and no other server is adding it. The orders of an index and the
-- limits make each lookup use it, under any statistics of the tables.
with next as materialized (
    select (
        select lease.fence >> 14 from token_manager.leases as lease
        where lease.fence >> 14 > ledger.indexed_block
        order by lease.fence >> 14, lease.user_id, lease.fence
        limit 1
    ) as block
    from token_manager.ledger
    where ledger.id = 1
    for update of ledger skip locked
),
complete as materialized (
    select next.block from next
    where (
        select true from token_manager.leases as later
        where later.fence >> 14 > next.block
        order by later.fence >> 14, later.user_id, later.fence
        limit 1
    )
),
added as (
    insert into token_manager.pool_leases (block, pool, oldest_at, newest_at, ids)
    select
        complete.block,
        lease.pool,
        min(lease.started_at),
        max(lease.started_at),
        case when count(*) <= 64 then array_agg(lease.id) end
    from complete
    cross join lateral (
        select * from token_manager.leases as one where one.fence >> 14 = complete.block
    ) as lease
    group by complete.block, lease.pool
    on conflict do nothing
)
update token_manager.ledger
set indexed_block = complete.block
from complete
where ledger.id = 1 and ledger.indexed_block < complete.block
returning ledger.indexed_block
