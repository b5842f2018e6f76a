select name from refinery_schema_history where version = 1
