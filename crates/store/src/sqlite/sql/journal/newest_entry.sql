select epoch, version, batch_id, at, fence from batches
order by version desc
limit 1
