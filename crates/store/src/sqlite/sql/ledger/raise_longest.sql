update ledger set longest_lease_micros = max(longest_lease_micros, ?1)
