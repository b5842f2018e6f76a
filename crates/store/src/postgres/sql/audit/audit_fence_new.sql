select count(*)
from token_manager.leases as lease
where lease.fence > (
    select batch.fence from token_manager.batches as batch
    order by batch.version desc
    limit 1
)
