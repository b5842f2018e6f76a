{lease: lease},
    case when lease.end_reason = 'evicted' then (
        select next.id from token_manager.leases as next
        where next.token_id = lease.token_id and next.previous_fence = lease.fence
    ) end as evicted_by,
    (select pool.name from token_manager.pools as pool where pool.id = lease.pool) as pool_name,
    (select token.name from token_manager.tokens as token where token.id = lease.token_id) as token_name
