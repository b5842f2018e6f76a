select
    number, lease_id, server, heard_at, since, until, user_name, key, asked_lease_micros,
    asked_wait_micros
from tickets
where pool = 'default'
