-- It may be there already, where this was begun before and not finished.
insert or ignore into user_leases (pool, user_id, fence) values ('default', ?1, ?2)
