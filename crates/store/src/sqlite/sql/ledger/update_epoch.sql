update ledger set epoch = ?1 where epoch <> ?1
