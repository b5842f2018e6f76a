-- The leases that forget_leases.sql examines: how many of them are old enough to have ended before ?1,
-- and the newest of these.
select count(*), coalesce(max(fence), 0) from (
    select fence, started_at from leases
    where fence > ?2
    order by fence
    limit ?3
)
where started_at < ?1
