-- How many other sessions have this one's name, and for how many seconds PostgreSQL has run.
select
    (
        select count(*) from pg_stat_activity
        where datname = current_database()
            and application_name = current_setting('application_name')
            and application_name <> ''
            and pid <> pg_backend_pid()
    ),
    extract(epoch from clock_timestamp() - pg_postmaster_start_time())::float8
