-- Examines a pool's leases with fences below $3 and from $4 on, newest first, and returns those that
-- match, $1 at most, and always the last examined one, with the number examined. The index has the pool's
-- leases block by block: their ids, or the time in which they started. The constant limits, and the order
-- of an index, bound the work under any statistics of the tables.
select
    {record},
    lease.fits,
    lease.is_last,
    lease.looked_at,
    lease.looked_at = 1000 as more
from (
    select
        one.*,
        row_number() over () as looked_at,
        lead(one.fence) over () is null as is_last,
        coalesce(
            {fits},
            false
        ) as fits
    from (
        select of_block.*
        from generate_series(($3::bigint - 1) >> 14, $4::bigint >> 14, -1) as blocks (number)
        cross join lateral (
            select * from token_manager.pool_leases
            where block = blocks.number and pool = $2::integer
            limit 1
        ) as entry
        cross join lateral (
            (
                -- The offset keeps the planner from looking through all fences.
                select * from (
                    select * from token_manager.leases where id = any (entry.ids) offset 0
                ) as few
                where fence < $3::bigint and fence >= $4::bigint
                order by fence desc
                limit 64
            )
            union all
            (
                select * from token_manager.leases
                where entry.ids is null
                    and started_at <= entry.newest_at
                    and started_at >= entry.oldest_at
                    and fence < least($3::bigint, (blocks.number + 1) << 14)
                    and fence >= greatest($4::bigint, blocks.number << 14)
                    and pool = $2::integer
                order by started_at desc, fence desc
                limit 1000
            )
        ) as of_block
        limit 1000
    ) as one
) as lease
where lease.fits or lease.is_last
limit $1::bigint
