insert into tickets (
    pool, number, lease_id, server, heard_at, since, until, user_name, key, asked_lease_micros,
    asked_wait_micros
)
values ('default', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
