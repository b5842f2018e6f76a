select count(*) from leases as l
cross join ledger
where l.fence <= ledger.indexed_fence and not exists (
    select 1 from pool_leases as p
    where p.block = l.fence >> 14 and p.pool = l.pool and p.fence in (0, l.fence)
)
