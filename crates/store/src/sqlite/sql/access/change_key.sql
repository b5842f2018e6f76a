insert into api_keys (
    id, name, rights, pools, users, secrets, created_at, created_by, expires_at, revoked_at,
    max_requests_per_second, max_leases
)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
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
