select to_regclass('token_manager.refinery_schema_history') is not null
