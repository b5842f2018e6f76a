select epoch, version, batch_id, server, at, fence, changes from batches
where version >= ?1
order by version
limit ?2
