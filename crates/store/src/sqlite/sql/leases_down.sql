-- From one fence (which is not among them) down to another.
select
    id, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at,
    ended_at, end_reason, granted_until
from leases
where pool = 'default' and fence < ?1 and fence >= ?2
order by fence desc
