select count(*), count(*) filter (where name = 'refinery_schema_history')
from sqlite_schema
where type in ('table', 'view') and name not like 'sqlite_%'
