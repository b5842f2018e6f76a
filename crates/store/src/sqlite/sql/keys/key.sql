select
    {lease: l},
    k.asked_lease_micros, k.asked_wait_micros
from idempotency_keys as k
cross join leases as l on l.id = k.lease_id
where k.pool = 'default' and k.key = ?1 and k.user_id = ?2
