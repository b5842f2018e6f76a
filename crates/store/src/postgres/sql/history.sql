-- A lease's previous fence is smaller than its own, so the first condition bounds the index scan and
-- the second makes it exact.
select
    id, user_id, user_name, fence, previous_fence, started_at, expires_at, ended_at,
    end_reason
from token_manager.leases
where token_id = $1::uuid and previous_fence < $2::bigint and fence < $2::bigint
order by previous_fence desc
limit $3::bigint
