-- The fences of a pool's leases in a block; the first is 0 if these are not all.
select fence from pool_leases
where block = ?1 and pool = ?2
order by fence
