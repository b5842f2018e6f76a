-- A lease's previous fence is smaller than its own, so the first condition bounds the index scan and
-- the second makes it exact.
select
    {record}
from token_manager.leases as lease
where lease.token_id = $1::uuid
    and lease.previous_fence < $2::bigint
    and lease.fence < $2::bigint
order by lease.previous_fence desc
limit $3::bigint
