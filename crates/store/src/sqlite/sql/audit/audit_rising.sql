select count(*) from leases where fence <= previous_fence
