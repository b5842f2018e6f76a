-- The size and policy of the pool `default`.
select (select count(*) from tokens where pool = pools.id and retired_at is null), policy
from pools
where id = 1
