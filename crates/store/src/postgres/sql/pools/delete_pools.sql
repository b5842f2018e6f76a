update token_manager.pools
set deleted_at = gone.at
from unnest($1::integer[], $2::timestamptz[]) as gone (id, at)
where pools.id = gone.id
