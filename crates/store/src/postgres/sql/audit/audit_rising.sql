select count(*) from token_manager.leases where fence <= previous_fence
