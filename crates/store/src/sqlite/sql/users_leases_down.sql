-- A user's, as far as they are indexed, from one fence (which is not among them) down to another.
select
    l.id, l.token_id, l.user_id, l.user_name, l.fence, l.previous_fence, l.started_at, l.expires_at,
    l.ended_at, l.end_reason, l.granted_until
from user_leases as u
cross join leases as l on l.pool = u.pool and l.fence = u.fence
where u.pool = 'default' and u.user_id = ?3 and u.fence < ?1 and u.fence >= ?2
order by u.fence desc
