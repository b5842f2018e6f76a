select clock_timestamp(), version, batch_id, at, epoch, fence, timeline
from token_manager.batches
where pool = $1::integer
order by version desc
limit 1
