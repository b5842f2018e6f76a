-- The oldest keys from number $1 on, when each was used, and when its lease ended or will; and the
-- number of the newest. No row without a key.
select
    oldest.number,
    oldest.used_at,
    coalesce(lease.ended_at, lease.expires_at, oldest.used_at),
    newest.number
from (
    select number, used_at, lease_id from token_manager.idempotency_keys
    where number >= $1::bigint
    order by number
    limit 100
) as oldest
left join lateral (
    select one.ended_at, one.expires_at from token_manager.leases as one
    where one.id = oldest.lease_id
    limit 1
) as lease on true
cross join lateral (
    select number from token_manager.idempotency_keys
    where number >= $1::bigint
    order by number desc
    limit 1
) as newest
