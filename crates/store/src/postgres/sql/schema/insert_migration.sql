insert into token_manager.migrations (number, name, statements)
values ($1::bigint, $2, $3)
