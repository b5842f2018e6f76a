-- `kept_leases` has exactly the leases that are neither their token's latest nor followed by a lease, so
-- that no chain leads to them.
select (
    select count(*) from leases as l
    join tokens as t on t.id = l.token_id
    join latest_leases as latest on latest.pool = t.pool and latest.position = t.position
    where
        l.fence <> latest.fence
        and not exists (
            select 1 from leases as later
            where later.previous_fence = l.fence and later.previous_fence > 0 and later.token_id = l.token_id
        )
        and not exists (
            select 1 from kept_leases as k
            where k.pool = t.pool and k.position = t.position and k.fence = l.fence
        )
) + (
    select count(*) from kept_leases as k
    where not exists (
        select 1 from tokens as t
        join leases as l on l.pool = t.pool and l.token_id = t.id
        where t.pool = k.pool and t.position = k.position and l.fence = k.fence
    )
)
