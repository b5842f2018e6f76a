-- Looks at the leases before the place ($7, $8) that started at $9 or later, newest first, and returns
-- those of them that fit, $6 at most, and in any case the last one, with how many that were. The
-- constant limit, and an order that an index has, keep that little, whatever is known of the tables.
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
            and (started_at, fence) < ($7::timestamptz, $8::bigint)
            and started_at >= $9::timestamptz
        order by started_at desc, fence desc
        limit 5000
    ) as one
) as lease
where lease.fits or lease.is_last
limit $6::bigint
