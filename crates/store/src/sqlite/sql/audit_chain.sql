with linked as (
    select
        previous_fence,
        lag(fence, 1, 0) over (partition by token_id order by previous_fence) as before
    from leases
)
select count(*) from linked where previous_fence <> before
