-- The row may exist already, if an earlier run was not finished.
insert or ignore into pool_leases (block, pool, fence) values (?1, ?2, ?3)
