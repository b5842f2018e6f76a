select number::bigint, statements from token_manager.migrations order by number
