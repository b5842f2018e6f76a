insert into tokens (id, pool, position, name, value, labels, taints, inserted_at, retired_at)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
