insert into batches (version, batch_id, server, at, epoch, fence, changes)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
