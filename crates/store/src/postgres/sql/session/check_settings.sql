select name, reset_val, source, pending_restart from pg_settings where name = any ($1::text[])
