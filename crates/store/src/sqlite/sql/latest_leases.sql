select
    l.id, l.token_id, l.user_id, l.user_name, l.fence, l.previous_fence, l.started_at, l.expires_at,
    l.ended_at, l.end_reason, l.granted_until
from latest_leases as latest
cross join leases as l on l.pool = latest.pool and l.fence = latest.fence
where latest.pool = 'default'
