select id, policy::text from token_manager.pools where name = 'default'
