-- First checks that version $2 of epoch $3 exists, so that nothing is read without it.
select version, batch_id, server, at, epoch, fence, timeline, changes
from token_manager.batches
where pool = $1::integer
    and version >= $2::bigint
    and exists (
        select from token_manager.batches
        where pool = $1::integer and version = $2::bigint and epoch = $3::bigint
    )
order by version
limit $4::bigint
