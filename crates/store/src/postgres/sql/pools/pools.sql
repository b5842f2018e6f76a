-- The pools, each with the number of positions that it has given; and the largest number of any pool.
select
    pool.id,
    pool.name,
    pool.description,
    pool.policy::text,
    pool.created_at,
    coalesce((
        select token.position + 1 from token_manager.tokens as token
        where token.pool = pool.id
        order by token.position desc
        limit 1
    ), 0),
    (select max(id) from token_manager.pools)
from token_manager.pools as pool
where pool.deleted_at is null
