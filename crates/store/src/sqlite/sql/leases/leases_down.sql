-- Leases from one fence (exclusive) down to another.
select
    {lease}
from leases
where fence < ?1 and fence >= ?2
order by fence desc
