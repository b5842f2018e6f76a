select
    id, name, rights, pools::text, users::text, secrets::text, created_at, created_by, expires_at,
    max_requests_per_second, max_leases
from token_manager.api_keys
where revoked_at is null
