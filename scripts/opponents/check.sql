-- Running leases, ended leases, fences given, evictions of a lease that was not the oldest (a lease that
-- ended before another with a lower fence did).
select
    (select count(*) from tokens where lease_id is not null and expires_at > now()),
    (select count(*) from history),
    (select last_value from fences),
    (
        select count(*)
        from (
            select ended_at < max(ended_at) over (
                order by fence rows between unbounded preceding and 1 preceding
            ) as early
            from history
        ) as each
        where early
    );
