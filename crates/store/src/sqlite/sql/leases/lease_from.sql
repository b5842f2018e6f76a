-- The first lease from a fence on.
select fence, started_at from leases
where fence >= ?1
order by fence
limit 1
