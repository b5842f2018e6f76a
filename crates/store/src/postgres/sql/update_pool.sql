update token_manager.pools set epoch = $2::bigint, lease = coalesce($3::bigint, lease)
where id = $1::integer
