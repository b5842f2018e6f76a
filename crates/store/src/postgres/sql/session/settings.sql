-- Applies settings to the session, also where they have that value already: one that a session has
-- set itself is not changed by a reload. remote_apply stays, since it is stronger. Settings that
-- this release of PostgreSQL does not have are left out.
select set_config(
    setting.name,
    case
        when setting.name = 'synchronous_commit' and known.setting = 'remote_apply'
        then known.setting
        else setting.value
    end,
    false
),
-- Fails on a standby, unless it may be used.
case when $3::boolean and pg_is_in_recovery() then pg_current_wal_lsn() end
from unnest($1::text[], $2::text[]) as setting (name, value)
join pg_settings as known on lower(known.name) = setting.name
