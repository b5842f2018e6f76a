-- First checks that version $1 of epoch $2 exists, so that nothing is read without it.
select version, batch_id, server, at, epoch, fence, timeline, changes
from token_manager.batches
where version >= $1::bigint
    and exists (
        select from token_manager.batches
        where version = $1::bigint and epoch = $2::bigint
    )
order by version
limit $3::bigint
