select id, lease from token_manager.pools where name = 'default'
