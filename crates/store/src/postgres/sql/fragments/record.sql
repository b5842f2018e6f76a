{lease: lease},
    case when lease.end_reason = 'evicted' then (
        select next.id from token_manager.leases as next
        where next.token_id = lease.token_id and next.previous_fence = lease.fence
    ) end as evicted_by
