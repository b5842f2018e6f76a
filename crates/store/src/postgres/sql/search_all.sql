-- Looks at the leases before the place ($7, $8) that started at $9 or later, newest first, and returns
-- those of them that fit, $6 at most, and in any case the last one, with how many that were. The
-- constant limit, and an order that an index has, keep that little, whatever is known of the tables.
select
    lease.id, lease.token_id, lease.user_id, lease.user_name, lease.fence, lease.previous_fence,
    lease.started_at, lease.granted_until, lease.expires_at, lease.ended_at, lease.end_reason,
    case when lease.end_reason = 'evicted' then (
        select next.id from token_manager.leases as next
        where next.token_id = lease.token_id and next.previous_fence = lease.fence
    ) end as evicted_by,
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
            (not $3::boolean or one.ended_at is not null or one.expires_at <= $2::timestamptz)
            and ($4::text is null or $4::text = coalesce(
                one.end_reason, case when one.expires_at <= $2::timestamptz then 'expired' end
            ))
            and (
                $5::timestamptz is null
                or coalesce(one.ended_at, one.expires_at) > $5::timestamptz
            ),
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
