select epoch, version, batch_id, server, at, fence, changes from batches
where pool = 'default' and version >= ?1
order by version
limit ?2
