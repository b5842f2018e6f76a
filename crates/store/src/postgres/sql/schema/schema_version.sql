select coalesce(max(number), 0)::bigint from token_manager.migrations
