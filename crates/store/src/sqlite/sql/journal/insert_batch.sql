insert into batches (pool, version, batch_id, server, at, epoch, fence, changes)
values ('default', ?1, ?2, ?3, ?4, ?5, ?6, ?7)
