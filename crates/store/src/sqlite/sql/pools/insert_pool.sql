insert into pools (id, name, description, policy, created_at, deleted_at) values (?1, ?2, ?3, ?4, ?5, ?6)
