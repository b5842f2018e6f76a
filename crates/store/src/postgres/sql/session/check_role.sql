-- The role's password, its remaining connections, and its default settings.
select
    role.rolname::text,
    to_char(role.rolvaliduntil at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    coalesce(role.rolvaliduntil < now() + interval '7 days', false),
    current_setting('max_connections')::bigint
        - current_setting('superuser_reserved_connections')::bigint
        - (select count(*) from pg_stat_activity where backend_type = 'client backend'),
    coalesce((
        select reset_val = 'on' from pg_settings where name = 'default_transaction_read_only'
    ), false)
from pg_roles as role
where role.rolname = current_user
