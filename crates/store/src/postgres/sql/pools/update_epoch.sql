update token_manager.pools set epoch = $2::bigint where id = $1::integer
