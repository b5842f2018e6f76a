-- Examines the leases before the position ($2, $3) that started at $4 or later, newest first, and
-- returns those that match, $1 at most, and always the last examined one, with the number examined. The
-- constant limit, and the order of an index, bound the work under any statistics of the tables.
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
            {fits},
            false
        ) as fits
    from (
        select * from token_manager.leases
        where (started_at, fence) < ($2::timestamptz, $3::bigint)
            and started_at >= $4::timestamptz
        order by started_at desc, fence desc
        limit 5000
    ) as one
) as lease
where lease.fits or lease.is_last
limit $1::bigint
