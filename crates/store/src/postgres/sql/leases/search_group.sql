-- The newest group of fences that has a lease with a fence below $1.
select fence >> 14
from token_manager.leases
where fence >> 14 <= ($1::bigint - 1) >> 14 and fence < $1::bigint
order by fence >> 14 desc, user_id desc, fence desc
limit 1
