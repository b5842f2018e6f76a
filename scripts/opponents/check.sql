-- Running leases, ended leases, fences given, evictions of a lease while an older one was running.
select
    (select count(*) from tokens where lease_id is not null and expires_at > now()),
    (select count(*) from history),
    (select last_value from fences),
    (
        select count(*)
        from (
            select ended_at, max(ended_at) over (
                order by fence rows between unbounded preceding and 1 preceding
            ) as last_before
            from (
                select fence, ended_at from history
                union all
                select fence, 'infinity' from tokens
            ) as leases
        ) as ordered
        where ended_at < last_before
    );
