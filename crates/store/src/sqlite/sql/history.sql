select
    id, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at,
    ended_at, end_reason
from leases
where token_id = ?1 and previous_fence < ?2 and fence < ?2
order by previous_fence desc
limit ?3
