update token_manager.tokens
set
    name = changed.name,
    value = changed.value,
    labels = changed.labels::jsonb,
    taints = changed.taints::jsonb
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
    as changed (id, name, value, labels, taints)
where tokens.id = changed.id
