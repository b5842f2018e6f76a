-- Imported leases may overlap, as they did in their source.
with ordered as (
    select
        started_at,
        max(coalesce(ended_at, expires_at)) over (
            partition by token_id order by fence rows between unbounded preceding and 1 preceding
        ) as over_at
    from token_manager.leases
    where end_reason is distinct from 'imported'
)
select count(*) from ordered where started_at < over_at
