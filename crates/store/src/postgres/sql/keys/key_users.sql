-- The users of the keys with these numbers, or of the next ones. By order, so that the planner has no choice
-- of indexes.
select used.user_id
from unnest($1::bigint[]) as asked (number)
cross join lateral (
    select one.user_id from token_manager.idempotency_keys as one
    where one.number >= asked.number
    order by one.number
    limit 1
) as used
