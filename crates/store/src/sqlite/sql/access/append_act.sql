insert into audit (at, version, actor_id, actor_name, action, pool, subject)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
