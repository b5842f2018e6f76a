select
    current_setting('server_version'),
    current_database()::text,
    current_user::text,
    pg_size_pretty(pg_database_size(current_database())),
    current_setting('synchronous_standby_names') <> '',
    clock_timestamp()
