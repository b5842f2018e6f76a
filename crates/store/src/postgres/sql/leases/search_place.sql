-- The position of one of the first few leases with a fence from $1 on.
select started_at, fence
from token_manager.leases
where fence >> 14 >= $1::bigint >> 14 and fence >= $1::bigint
order by fence >> 14, user_id, fence
limit 1
