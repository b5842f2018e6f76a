select
    {lease}
from leases
where pool = 'default' and fence = ?1
