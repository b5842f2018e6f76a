insert into tokens (id, pool, value, position, inserted_at) values (?1, 'default', ?2, ?3, ?4)
