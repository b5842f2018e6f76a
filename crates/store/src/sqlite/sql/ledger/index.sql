select indexed_fence, longest_lease_micros from ledger
