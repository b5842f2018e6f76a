select hash, key, kind, started_at, expires_at from sessions where expires_at > ?1
