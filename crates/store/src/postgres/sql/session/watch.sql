-- The settings $1, null for those that this release of PostgreSQL does not have; and the tables that
-- PostgreSQL empties after a crash.
select name, current_setting(name, true) as value
from unnest($1::text[]) as name
union all
select 'unlogged', coalesce(string_agg(relname, ', ' order by relname), '')
from pg_class
where relnamespace = to_regnamespace('token_manager') and relkind = 'r' and relpersistence = 'u'
