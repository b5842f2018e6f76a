select pg_advisory_lock_shared($1::integer, $2::integer)
