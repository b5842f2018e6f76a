select
    id, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at,
    ended_at, end_reason, granted_until
from leases
where pool = 'default' and fence = ?1
