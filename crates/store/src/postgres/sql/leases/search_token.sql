-- Examines a token's leases with fences below $4 and from $5 on, newest first, and returns those that
-- match, $2 at most, and always the last examined one, with the number examined. The constant limit, and
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
            and one.fence >= $5::bigint,
            false
        ) as fits
    from (
        select * from token_manager.leases
        where pool = $1::integer
            and token_id = $3::uuid
            and previous_fence < $4::bigint
            and fence < $4::bigint
            -- The first with such a fence, or the one before that.
            and previous_fence >= coalesce((
                select previous_fence from token_manager.leases
                where token_id = $3::uuid and previous_fence < $5::bigint
                order by previous_fence desc
                limit 1
            ), 0)
        order by previous_fence desc
        limit 5000
    ) as one
) as lease
where lease.fits or lease.is_last
limit $2::bigint
