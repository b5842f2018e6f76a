select exists (select from token_manager.ledger)
