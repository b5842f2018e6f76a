-- The number of leases is an estimate, since counting reads them all.
select
    (select greatest(reltuples, 0)::bigint from pg_class where oid = 'token_manager.leases'::regclass),
    pg_size_pretty(pg_total_relation_size('token_manager.leases')),
    (select count(*) from token_manager.batches),
    pg_size_pretty(pg_total_relation_size('token_manager.batches')),
    newest.version,
    newest.epoch,
    newest.timeline,
    (select count(*) from token_manager.tickets),
    -- Numbers have no gaps.
    (select coalesce(max(number) - min(number) + 1, 0) from token_manager.idempotency_keys),
    newest.at,
    clock_timestamp(),
    (select count(*) from token_manager.pools where deleted_at is null),
    (
        select count(*) from token_manager.tokens as token
        join token_manager.pools as pool on pool.id = token.pool
        where pool.deleted_at is null and token.retired_at is null
    )
from (values (true)) as once
left join lateral (
    select version, epoch, timeline, at from token_manager.batches
    order by version desc
    limit 1
) as newest on true
