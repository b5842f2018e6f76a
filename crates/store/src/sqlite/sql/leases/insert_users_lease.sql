-- The row may exist already, if an earlier run was not finished.
insert or ignore into user_leases (user_id, fence) values (?1, ?2)
