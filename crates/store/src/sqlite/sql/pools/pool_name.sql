-- The name of a pool, deleted or not.
select name from pools where id = ?1
