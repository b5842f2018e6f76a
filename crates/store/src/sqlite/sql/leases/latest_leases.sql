select
    {lease: l}
from latest_leases as latest
cross join leases as l on l.pool = latest.pool and l.fence = latest.fence
where latest.pool = 'default'
