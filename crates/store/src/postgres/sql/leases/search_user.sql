-- Examines a user's leases with fences below $3 and from $4 on, newest first, and returns those that
-- match, $1 at most, and always the last examined one, with the number examined. The index has them in
-- groups of 16,384 fences, so they are looked up group by group. The constant limits, and the order of
-- an index, bound the work under any statistics of the tables.
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
        select of_group.*
        from generate_series(($3::bigint - 1) >> 14, $4::bigint >> 14, -1) as groups (number)
        cross join lateral (
            select * from token_manager.leases
            where fence >> 14 = groups.number
                and user_id = $2::uuid
                and fence < $3::bigint
                and fence >= $4::bigint
            order by fence desc
            limit 5000
        ) as of_group
        limit 5000
    ) as one
) as lease
where lease.fits or lease.is_last
limit $1::bigint
