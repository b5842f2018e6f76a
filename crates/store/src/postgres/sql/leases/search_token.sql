-- Examines a token's leases with fences below $3 and from $4 on, newest first, and returns those that
-- match, $1 at most, and always the last examined one, with the number examined. The constant limit, and
-- the order of an index, bound the work under any statistics of the tables.
select
    {record},
    lease.fits,
    lease.is_last,
    lease.looked_at,
    lease.looked_at = 5000 as more
from (
    select
        one.*,
        row_number() over () as looked_at,
        lead(one.fence) over () is null as is_last,
        coalesce(
            {fits}
            and one.fence >= $4::bigint,
            false
        ) as fits
    from (
        select * from token_manager.leases
        where token_id = $2::uuid
            and previous_fence < $3::bigint
            and fence < $3::bigint
            -- The first with such a fence, or the one before that.
            and previous_fence >= coalesce((
                select previous_fence from token_manager.leases
                where token_id = $2::uuid and previous_fence < $4::bigint
                order by previous_fence desc
                limit 1
            ), 0)
        order by previous_fence desc
        limit 5000
    ) as one
) as lease
where lease.fits or lease.is_last
limit $1::bigint
