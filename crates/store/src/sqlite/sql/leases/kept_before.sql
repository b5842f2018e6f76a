-- The token's newest lease before ?2 that its chain does not lead to.
select max(kept.fence) from tokens as t
join kept_leases as kept on kept.pool = t.pool and kept.position = t.position
where t.id = ?1 and kept.fence < ?2
