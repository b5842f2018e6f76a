-- The pools, each with the number of positions that it has given.
select id, name, description, policy, created_at, coalesce(
    (select position + 1 from tokens where pool = pools.id order by position desc limit 1), 0
)
from pools indexed by pools_name
where deleted_at is null
