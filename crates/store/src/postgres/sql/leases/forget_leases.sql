-- Looks at the first few leases after the place ($2, $3) that started before $4, and deletes those of
-- them that were over by then; but no token's latest, and none that a key leads to. Fences rise with
-- time, so the fence alone says how far, too; the time spares looking for it. Limits, and the array
-- of what to delete, keep each lookup one by an index, whatever is known of the tables. Tells how many
-- are gone, whether there may be more, the last one looked at and the first one spared.
with looked as materialized (
    select id, token_id, fence, previous_fence, started_at, ended_at
    from token_manager.leases
    where pool = $1::integer
        and (started_at, fence) > ($2::timestamptz, $3::bigint)
        and fence > $3::bigint
        and started_at < $4::timestamptz
    order by started_at, fence
    limit 500
),
deleted as (
    delete from token_manager.leases
    where id = any (array(
        select looked.id
        from looked
        where looked.ended_at < $4::timestamptz
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
