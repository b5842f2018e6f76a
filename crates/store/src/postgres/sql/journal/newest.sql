select clock_timestamp(), version, batch_id, at, epoch, fence, timeline
from token_manager.batches
order by version desc
limit 1
