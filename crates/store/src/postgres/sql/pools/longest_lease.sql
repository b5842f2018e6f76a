select longest_lease from token_manager.pools where id = $1::integer
