select
    id, token_id, user_id, user_name, fence, previous_fence, started_at, granted_until,
    expires_at, ended_at, end_reason
from token_manager.leases
where id = any ($1::uuid[])
