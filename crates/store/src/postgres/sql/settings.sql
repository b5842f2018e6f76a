-- Applies settings to the session; synchronous_commit only where a commit would not wait for the
-- disk at all, so that stronger choices stay.
select set_config(setting.name, setting.value, false)
from unnest($1::text[], $2::text[]) as setting (name, value)
where setting.name <> 'synchronous_commit' or current_setting(setting.name) = 'off'
