-- The number of pools, and of their tokens.
select count(*), coalesce(sum((
    select count(*) from tokens where pool = pools.id and retired_at is null
)), 0)
from pools
where deleted_at is null
