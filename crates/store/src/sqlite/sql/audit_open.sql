select count(*) from leases as l
where l.ended_at is null and exists (
    select 1 from leases as later
    where later.token_id = l.token_id and later.previous_fence > l.previous_fence
)
