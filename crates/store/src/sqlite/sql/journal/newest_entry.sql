select epoch, version, batch_id, at, fence from batches
where version = (select max(version) from batches)
