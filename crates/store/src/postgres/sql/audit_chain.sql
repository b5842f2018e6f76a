-- Leases before the one before may have been deleted for their age; the one before itself may have
-- been, too, but then no other token's lease has its fence.
with linked as (
    select
        pool, token_id, previous_fence,
        lag(fence, 1, 0::bigint) over (partition by token_id order by previous_fence) as before
    from token_manager.leases
)
select count(*) from linked
where previous_fence < before
    or previous_fence > before and exists (
        select from token_manager.leases as other
        where other.pool = linked.pool
            and other.fence = linked.previous_fence
            and other.token_id <> linked.token_id
    )
