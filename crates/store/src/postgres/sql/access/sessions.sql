select hash, key, kind, started_at, expires_at
from token_manager.sessions
where expires_at > $1::timestamptz
