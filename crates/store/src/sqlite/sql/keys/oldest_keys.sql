-- The oldest keys, and whether their leases ended before ?1; those used later are cut off.
select k.number, k.used_at < ?1, coalesce(l.ended_at, l.expires_at) < ?1
from idempotency_keys as k
cross join leases as l on l.id = k.lease_id
order by k.number
limit 50
