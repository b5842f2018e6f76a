-- Examines the leases before the position ($3, $4) that started at $5 or later, newest first, and
-- returns those that match, $2 at most, and always the last examined one, with the number examined. The
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
        where pool = $1::integer
            and (started_at, fence) < ($3::timestamptz, $4::bigint)
            and started_at >= $5::timestamptz
        order by started_at desc, fence desc
        limit 5000
    ) as one
) as lease
where lease.fits or lease.is_last
limit $2::bigint
