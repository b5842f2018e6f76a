select exists (select 1 from batches where pool = 'default' and batch_id = ?1)
