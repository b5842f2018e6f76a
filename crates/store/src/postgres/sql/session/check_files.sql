-- Values in the configuration files, also those not applied yet. Only for roles that may read all
-- settings.
select distinct on (name) name, setting, sourcefile
from pg_file_settings
where name = any ($1::text[]) and error is null
order by name, seqno desc
