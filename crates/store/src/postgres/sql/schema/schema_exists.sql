select to_regnamespace('token_manager') is not null
