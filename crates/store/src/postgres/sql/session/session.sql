-- The first eight digits of the name of a write-ahead log file are PostgreSQL's timeline.
select
    current_setting('server_version_num')::integer,
    current_setting('server_encoding'),
    substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
    to_hex((extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint)
