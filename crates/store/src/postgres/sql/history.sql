-- A lease's previous fence is smaller than its own, so the first condition bounds the index scan and
-- the second makes it exact.
select
    lease.id, lease.token_id, lease.user_id, lease.user_name, lease.fence, lease.previous_fence,
    lease.started_at, lease.granted_until, lease.expires_at, lease.ended_at, lease.end_reason,
    case when lease.end_reason = 'evicted' then (
        select next.id from token_manager.leases as next
        where next.token_id = lease.token_id and next.previous_fence = lease.fence
    ) end as evicted_by
from token_manager.leases as lease
where lease.token_id = $1::uuid
    and lease.previous_fence < $2::bigint
    and lease.fence < $2::bigint
order by lease.previous_fence desc
limit $3::bigint
