update ledger set forgotten_fence = max(forgotten_fence, ?1)
