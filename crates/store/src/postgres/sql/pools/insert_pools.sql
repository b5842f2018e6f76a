insert into token_manager.pools (id, name, description, policy, created_at, deleted_at)
select pool.id, pool.name, pool.description, pool.policy::jsonb, pool.created_at, pool.deleted_at
from unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[])
    as pool (id, name, description, policy, created_at, deleted_at)
