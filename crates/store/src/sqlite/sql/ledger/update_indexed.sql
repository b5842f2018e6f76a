update ledger set indexed_fence = ?1
