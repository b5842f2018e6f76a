-- The one before may have been deleted for its age; but then no other token's lease has its fence.
with linked as materialized (
    select *
    from (
        select
            token_id, previous_fence,
            lag(fence, 1, 0::bigint) over (partition by token_id order by previous_fence) as before
        from token_manager.leases
    ) as following
    where previous_fence <> before
)
select
    (select count(*) from linked where previous_fence < before)
    + (
        select count(*)
        from linked
        join token_manager.leases as other
            on other.fence = linked.previous_fence
        where linked.previous_fence > linked.before and other.token_id <> linked.token_id
    )
