insert into tickets (pool, number, lease_id, server, heard_at, until)
values ('default', ?1, ?2, ?3, ?4, ?5)
