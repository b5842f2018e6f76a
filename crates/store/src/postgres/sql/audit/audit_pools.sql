select count(*)
from token_manager.leases as lease
cross join token_manager.ledger
where lease.fence >> 14 <= ledger.indexed_block
    and not exists (
        select from token_manager.pool_leases as entry
        where entry.block = lease.fence >> 14
            and entry.pool = lease.pool
            and (entry.ids is null or lease.id = any (entry.ids))
    )
