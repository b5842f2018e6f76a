select count(*)
from token_manager.leases as lease
where lease.ended_at is null and exists (
    select from token_manager.leases as later
    where later.token_id = lease.token_id and later.previous_fence > lease.previous_fence
)
