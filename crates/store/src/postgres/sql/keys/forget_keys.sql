-- Examines only the first few from number $1 on. Waits for another server that is deleting them. Rows
-- are selected by their ctid, so that the planner has no choice of indexes. Returns how many were
-- deleted, and the first number that may be left, if it examined any.
with oldest as materialized (
    select ctid as place, number, used_at
    from token_manager.idempotency_keys
    where number >= $1::bigint
    order by number
    limit 500
    for update
),
deleted as (
    delete from token_manager.idempotency_keys
    where ctid = any (array(select place from oldest where used_at < $2::timestamptz))
    returning number
)
select
    (select count(*) from deleted),
    coalesce(min(number) filter (where used_at >= $2::timestamptz), max(number) + 1)
from oldest
