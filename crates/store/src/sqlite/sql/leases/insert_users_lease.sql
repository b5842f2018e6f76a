-- The row may exist already, if an earlier run was not finished.
insert or ignore into user_leases (pool, user_id, fence) values ('default', ?1, ?2)
