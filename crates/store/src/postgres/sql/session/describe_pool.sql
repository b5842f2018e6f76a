-- The number of leases is an estimate, since counting reads them all.
select
    pool.size,
    (select greatest(reltuples, 0)::bigint from pg_class where oid = 'token_manager.leases'::regclass),
    pg_size_pretty(pg_total_relation_size('token_manager.leases')),
    (select count(*) from token_manager.batches where batches.pool = pool.id),
    pg_size_pretty(pg_total_relation_size('token_manager.batches')),
    newest.version,
    newest.epoch,
    newest.timeline,
    (select count(*) from token_manager.tickets where tickets.pool = pool.id),
    -- Numbers have no gaps.
    (
        select coalesce(max(number) - min(number) + 1, 0)
        from token_manager.idempotency_keys as used
        where used.pool = pool.id
    ),
    newest.at,
    clock_timestamp()
from token_manager.pools as pool
left join lateral (
    select version, epoch, timeline, at from token_manager.batches
    where batches.pool = pool.id
    order by version desc
    limit 1
) as newest on true
where pool.name = 'default'
