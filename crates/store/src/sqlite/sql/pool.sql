select size, lease_micros, max_lease_micros, when_full, min_hold_micros, max_per_user from pools
where name = 'default'
