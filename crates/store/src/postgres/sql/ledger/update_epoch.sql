update token_manager.ledger set epoch = $1::bigint
