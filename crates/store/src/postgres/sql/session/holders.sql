-- The sessions that hold the advisory lock ($1, $2). A role without pg_monitor does not see every column
-- for the sessions of other roles.
select
    held.pid,
    other.usename::text,
    other.application_name,
    case
        when other.client_addr is not null then host(other.client_addr)
        when other.backend_start is not null then 'a Unix socket'
    end,
    other.state,
    to_char(
        coalesce(other.xact_start, other.state_change) at time zone 'UTC',
        'YYYY-MM-DD"T"HH24:MI:SS"Z"'
    ),
    coalesce(
        other.usename = current_user
        and other.application_name = current_setting('application_name'),
        false
    )
from pg_locks as held
left join pg_stat_activity as other on other.pid = held.pid
where held.locktype = 'advisory'
    and held.database = (select oid from pg_database where datname = current_database())
    and held.classid = $1::integer::oid
    and held.objid = $2::integer::oid
    and held.objsubid = 2
    and held.granted
    and held.pid <> pg_backend_pid()
order by held.pid
limit 10
