select
    number, lease_id, server, heard_at, since, until, user_name, key, asked_lease_micros,
    asked_wait_micros, pool, token_id, note
from tickets
