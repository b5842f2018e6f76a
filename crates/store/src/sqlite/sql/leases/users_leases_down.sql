-- A user's indexed leases, from one fence (exclusive) down to another.
select
    {lease: l}
from user_leases as u
cross join leases as l on l.fence = u.fence
where u.user_id = ?3 and u.fence < ?1 and u.fence >= ?2
order by u.fence desc
