update token_manager.pools
set policy = $2::text::jsonb, longest_lease = greatest(longest_lease, $3::bigint)
where id = $1::integer
