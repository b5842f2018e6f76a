select count(*)
from token_manager.leases
where granted_until not between started_at and expires_at
