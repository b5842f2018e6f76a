select indexed_fence, longest_lease_micros from pools where name = 'default'
