select pg_notify('token_manager', $1::text)
