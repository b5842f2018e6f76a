-- The time, and the journal from version $1 on (the caller knows the changes of $1 itself); one row
-- without a version if it has no such entry. The last column is the time before the transaction saw
-- anything: a batch that was not visible was in flight then, or begins later.
select
    clock_timestamp(),
    batch.version,
    batch.batch_id,
    batch.server,
    batch.at,
    batch.epoch,
    batch.fence,
    batch.timeline,
    batch.changes,
    transaction_timestamp()
from (values (true)) as once
left join lateral (
    select
        version, batch_id, server, at, epoch, fence, timeline,
        case when version > $1::bigint then changes else ''::bytea end as changes
    from token_manager.batches
    where version >= $1::bigint
    order by version
    limit $2::bigint
) as batch on true
order by batch.version
