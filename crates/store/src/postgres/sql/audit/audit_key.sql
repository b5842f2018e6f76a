select count(*)
from token_manager.idempotency_keys as used
where not exists (select from token_manager.leases as lease where lease.id = used.lease_id)
