with ordered as (
    select started_at, lag(started_at) over (order by fence) as before from leases
)
select count(*) from ordered where started_at < before
