update token_manager.pools
set longest_lease = greatest(longest_lease, $2::bigint)
where id = $1::integer
