select latest.fence from tokens as t
join latest_leases as latest on latest.pool = t.pool and latest.position = t.position
where t.id = ?1
