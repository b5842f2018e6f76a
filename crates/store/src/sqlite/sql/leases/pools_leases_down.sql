-- A pool's leases from one fence (exclusive) down to another: examines each lease in between.
select
    {lease}
from leases
where fence < ?1 and fence >= ?2 and pool = ?3
order by fence desc
