select
    {lease}
from leases
where fence = ?1
