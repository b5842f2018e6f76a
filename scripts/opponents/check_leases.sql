-- For TokenManager's own tables, on both databases: leases that ended, and evictions of a lease while an older
-- one was running or was evicted later.
select count(ended_at), coalesce(sum(case when early then 1 else 0 end), 0)
from (
    select
        ended_at,
        end_reason = 'evicted' and (still_runs_before or ended_at < last_before) as early
    from (
        select
            ended_at,
            end_reason,
            coalesce(max(case when ended_at is null then 1 else 0 end) over older, 0) = 1 as still_runs_before,
            max(case when end_reason = 'evicted' then ended_at end) over older as last_before
        from leases
        window older as (order by fence rows between unbounded preceding and 1 preceding)
    ) as ordered
) as each_lease;
