select
    {lease}
from token_manager.leases
where id = any ($1::uuid[])
