select
    (
        select count(*) from token_manager.leases as lease
        join token_manager.pools as pool on pool.id = lease.pool
        where pool.deleted_at is not null and lease.ended_at is null
    ) + (
        select count(*) from token_manager.tickets as ticket
        where not exists (
            select from token_manager.pools as pool
            where pool.id = ticket.pool and pool.deleted_at is null
        )
    )
