select
    id::text,
    token::text,
    coalesce((extract(epoch from inserted_at) * 1000000)::bigint, 0)
from tokens
order by inserted_at, id
