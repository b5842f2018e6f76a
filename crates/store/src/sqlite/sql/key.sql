select
    l.id, l.token_id, l.user_id, l.user_name, l.fence, l.previous_fence, l.started_at, l.expires_at,
    l.ended_at, l.end_reason, l.granted_until,
    k.asked_lease_micros, k.asked_wait_micros
from idempotency_keys as k
cross join leases as l on l.id = k.lease_id
where k.pool = 'default' and k.key = ?1 and k.user_id = ?2
