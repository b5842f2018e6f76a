select count(*) from leases as l
where l.ended_at is null and exists (
    select 1 from leases as later
    where later.previous_fence = l.fence and later.previous_fence > 0 and later.token_id = l.token_id
)
