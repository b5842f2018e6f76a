select to_regclass('token_manager.migrations') is not null
