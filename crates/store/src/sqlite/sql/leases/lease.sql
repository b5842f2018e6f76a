select
    {lease}
from leases
where id = ?1
