update token_manager.pools
set lease = $2::bigint,
    max_lease = $3::bigint,
    when_full = $4::text,
    min_hold = $5::bigint,
    max_per_user = $6::bigint,
    -- Of the policy until now and the new one.
    longest_lease = greatest(longest_lease, lease, max_lease, $2::bigint, $3::bigint)
where id = $1::integer
