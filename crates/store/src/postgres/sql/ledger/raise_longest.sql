update token_manager.ledger set longest_lease = greatest(longest_lease, $1::bigint)
