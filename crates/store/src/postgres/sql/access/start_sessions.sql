insert into token_manager.sessions (hash, key, kind, started_at, expires_at)
select session.*
from unnest($1::bytea[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[]) as session
