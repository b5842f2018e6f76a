insert into token_manager.tokens (
    id, pool, position, name, inserted_at, retired_at, value, labels, taints
)
select
    token.id, token.pool, token.position, token.name, token.inserted_at, token.retired_at,
    token.value, token.labels::jsonb, token.taints::jsonb
from unnest(
    $1::uuid[], $2::integer[], $3::bigint[], $4::text[], $5::timestamptz[], $6::timestamptz[],
    $7::text[], $8::text[], $9::text[]
) as token (id, pool, position, name, inserted_at, retired_at, value, labels, taints)
