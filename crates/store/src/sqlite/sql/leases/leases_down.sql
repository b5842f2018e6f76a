-- Leases from one fence (exclusive) down to another.
select
    {lease}
from leases
where pool = 'default' and fence < ?1 and fence >= ?2
order by fence desc
