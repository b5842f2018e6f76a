select (
    select count(*) from leases as l
    cross join ledger
    where l.fence <= ledger.indexed_fence and not exists (
        select 1 from user_leases as u
        where u.user_id = l.user_id and u.fence = l.fence
    )
) + (
    select count(*) from user_leases as u
    where
        not exists (select 1 from leases as l where l.fence = u.fence)
        and u.fence not in (select fence from forgotten_leases)
)
