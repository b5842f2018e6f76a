-- Number of other sessions with this one's name, and PostgreSQL's uptime in seconds.
select
    (
        select count(*) from pg_stat_activity
        where datname = current_database()
            and application_name = current_setting('application_name')
            and application_name <> ''
            and pid <> pg_backend_pid()
    ),
    extract(epoch from clock_timestamp() - pg_postmaster_start_time())::float8
