select
    {record}
from token_manager.leases as lease
where lease.id = $1::uuid
