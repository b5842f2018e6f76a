select
    id, name, rights, pools, users, secrets, created_at, created_by, expires_at,
    max_requests_per_second, max_leases
from api_keys
where revoked_at is null
