-- The size and policy of the pool `default`.
select
    (
        select count(*) from token_manager.tokens
        where tokens.pool = pools.id and tokens.retired_at is null
    ),
    policy::text
from token_manager.pools
where id = 1
