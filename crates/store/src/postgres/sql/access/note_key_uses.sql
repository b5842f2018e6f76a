-- A row that another session is writing is left out: that may be another server, with about the same time, and
-- two that write several rows could wait for each other.
with key as (
    select one.id, used.at
    from token_manager.api_keys as one
    join unnest($1::text[], $2::timestamptz[]) as used (id, at) on used.id = one.id
    where one.last_used_at is null or one.last_used_at < used.at
    for update of one skip locked
)
update token_manager.api_keys as one
set last_used_at = greatest(one.last_used_at, key.at)
from key
where one.id = key.id
