update pools
set policy = ?1, longest_lease_micros = max(longest_lease_micros, ?2)
where name = 'default'
