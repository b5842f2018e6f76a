select count(*)
from token_manager.pools as pool
where pool.size <> (
    select count(*) from token_manager.tokens as token where token.pool = pool.id
)
