select count(*)
from token_manager.leases as lease
where not exists (
    select from token_manager.tokens as token
    where token.id = lease.token_id and token.pool = lease.pool
)
