update token_manager.pools
set description = changed.description, policy = changed.policy::jsonb
from unnest($1::integer[], $2::text[], $3::text[]) as changed (id, description, policy)
where pools.id = changed.id
