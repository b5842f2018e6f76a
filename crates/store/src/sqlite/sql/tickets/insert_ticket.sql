insert into tickets (
    number, lease_id, server, heard_at, since, until, user_name, key, asked_lease_micros,
    asked_wait_micros, pool, token_id, note
)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
