-- Looks at a token's leases before the place ($2, $3) and from $4 on, newest first, and returns
-- those of them that fit, $9 at most, and in any case the last one, with how many that were.
-- A token's leases are found by the fences along its chain, and fences rise with time: the index on
-- time says between which of them to look. The constant limit, and an order that an index has, keep
-- that little, whatever is known of the tables.
with newest as materialized (
    select fence from token_manager.leases
    where (started_at, fence) < ($2::timestamptz, $3::bigint)
    order by started_at desc, fence desc
    limit 1
),
too_old as materialized (
    select fence from token_manager.leases
    where started_at < $4::timestamptz
    order by started_at desc, fence desc
    limit 1
)
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
            (not $6::boolean or one.ended_at is not null or one.expires_at <= $5::timestamptz)
            and ($7::text is null or $7::text = coalesce(
                one.end_reason, case when one.expires_at <= $5::timestamptz then 'expired' end
            ))
            and (
                $8::timestamptz is null
                or coalesce(one.ended_at, one.expires_at) > $8::timestamptz
            )
            and one.started_at >= $4::timestamptz,
            false
        ) as fits
    from (
        select * from token_manager.leases
        where pool = $1::integer
            and token_id = $10::uuid
            and previous_fence < (select fence from newest)
            and fence <= (select fence from newest)
            -- The last one of those that are too old, or the first that is not.
            and previous_fence >= coalesce((
                select previous_fence from token_manager.leases
                where token_id = $10::uuid
                    and previous_fence <= (select fence from too_old)
                order by previous_fence desc
                limit 1
            ), 0)
        order by previous_fence desc
        limit 5000
    ) as one
) as lease
where lease.fits or lease.is_last
limit $9::bigint
