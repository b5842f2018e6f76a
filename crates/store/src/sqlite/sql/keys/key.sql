select
    {lease: l},
    k.asked_lease_micros, k.asked_wait_micros, k.asked_token, t.value
from idempotency_keys as k
cross join leases as l on l.id = k.lease_id
cross join tokens as t on t.id = l.token_id
where k.key = ?1 and k.user_id = ?2
