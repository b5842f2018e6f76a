with newest as (
    select token_id, max(fence) as fence from leases group by token_id
)
select count(*) from newest
left join tokens as t on t.id = newest.token_id
left join latest_leases as latest on latest.pool = t.pool and latest.position = t.position
where latest.fence is not newest.fence
