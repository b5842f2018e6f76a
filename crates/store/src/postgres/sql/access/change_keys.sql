-- In the order of the batch, in which a name is free before another key gets it.
insert into token_manager.api_keys (
    id, name, rights, pools, users, secrets, created_at, created_by, expires_at, revoked_at,
    max_requests_per_second, max_leases
)
select
    key.id, key.name, key.rights, key.pools::jsonb, key.users::jsonb, key.secrets::jsonb,
    key.created_at, key.created_by, key.expires_at, key.revoked_at, key.max_requests_per_second,
    key.max_leases
from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
    $8::text[], $9::timestamptz[], $10::timestamptz[], $11::bigint[], $12::bigint[]
) as key (
    id, name, rights, pools, users, secrets, created_at, created_by, expires_at, revoked_at,
    max_requests_per_second, max_leases
)
on conflict (id) do update
set name = excluded.name,
    rights = excluded.rights,
    pools = excluded.pools,
    users = excluded.users,
    secrets = excluded.secrets,
    expires_at = excluded.expires_at,
    revoked_at = excluded.revoked_at,
    max_requests_per_second = excluded.max_requests_per_second,
    max_leases = excluded.max_leases
