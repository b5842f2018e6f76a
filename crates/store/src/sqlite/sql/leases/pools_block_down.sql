-- The last block and pool of the index, from these on downwards: the pool's block; or the one that shows
-- where to look next, without a look at each block in between.
select block, pool from pool_leases
where (block, pool) <= (?1, ?2)
order by block desc, pool desc
limit 1
