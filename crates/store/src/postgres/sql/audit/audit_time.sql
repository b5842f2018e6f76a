-- The search by user or token relies on this order.
with ordered as (
    select started_at, lag(started_at) over (order by fence) as before
    from token_manager.leases
)
select count(*) from ordered where started_at < before
