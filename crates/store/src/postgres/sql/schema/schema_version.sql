select coalesce(max(version), 0)::bigint from token_manager.refinery_schema_history
