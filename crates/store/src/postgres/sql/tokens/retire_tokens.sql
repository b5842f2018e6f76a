update token_manager.tokens
set retired_at = gone.at
from unnest($1::uuid[], $2::timestamptz[]) as gone (id, at)
where tokens.id = gone.id
