select greatest(longest_lease, lease, max_lease) from token_manager.pools where id = $1::integer
