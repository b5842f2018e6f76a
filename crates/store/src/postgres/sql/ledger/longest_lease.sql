select longest_lease from token_manager.ledger
