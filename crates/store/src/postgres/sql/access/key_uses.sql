select id, last_used_at
from token_manager.api_keys
where id = any ($1::text[]) and last_used_at is not null
