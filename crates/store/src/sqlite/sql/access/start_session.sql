insert into sessions (hash, key, kind, started_at, expires_at)
values (?1, ?2, ?3, ?4, ?5)
