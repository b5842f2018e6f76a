-- The oldest keys, when each was used, and when its lease ended or will; and the number of the newest.
select k.number, k.used_at, coalesce(l.ended_at, l.expires_at), (
    select max(number) from idempotency_keys
)
from idempotency_keys as k
cross join leases as l on l.id = k.lease_id
order by k.number
limit 100
