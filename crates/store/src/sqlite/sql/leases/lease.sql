select
    {lease}
from leases
where id = ?1 and pool = 'default'
