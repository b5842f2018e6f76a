select epoch, version, batch_id, at, fence from batches
where pool = 'default'
order by version desc
limit 1
