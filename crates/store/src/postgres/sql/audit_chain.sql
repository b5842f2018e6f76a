with linked as (
    select
        previous_fence,
        lag(fence, 1, 0::bigint) over (partition by token_id order by previous_fence) as before
    from token_manager.leases
)
select count(*) from linked where previous_fence <> before
