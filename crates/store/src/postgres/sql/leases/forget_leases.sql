-- Examines the first few leases after the position ($1, $2) that started before $3, and deletes those
-- that were over by then; but no token's latest, and none that a key refers to. Fences rise with time,
-- so the fence alone would be enough as a position; the time saves a lookup. Limits, and the array of
-- ids to delete, make each lookup use an index, under any statistics of the tables. Returns the number
-- of deleted leases, whether more may follow, the last one examined and the first one spared.
with looked as materialized (
    select id, token_id, fence, previous_fence, started_at, ended_at
    from token_manager.leases
    where (started_at, fence) > ($1::timestamptz, $2::bigint)
        and fence > $2::bigint
        and started_at < $3::timestamptz
    order by started_at, fence
    limit 500
),
deleted as (
    delete from token_manager.leases
    where id = any (array(
        select looked.id
        from looked
        where looked.ended_at < $3::timestamptz
            and (
                select true from token_manager.leases as later
                where later.token_id = looked.token_id
                    and later.previous_fence > looked.previous_fence
                limit 1
            )
            and coalesce((
                select false from token_manager.idempotency_keys as used
                where used.lease_id = looked.id
                limit 1
            ), true)
    ))
    returning id
)
select
    (select count(*) from deleted),
    count(*) = 500 as more,
    max(started_at),
    max(fence),
    min(started_at) filter (where not gone),
    min(fence) filter (where not gone)
from (select *, id in (select id from deleted) as gone from looked) as leases
