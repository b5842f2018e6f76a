update pools
set
    lease_micros = ?1,
    max_lease_micros = ?2,
    when_full = ?3,
    min_hold_micros = ?4,
    max_per_user = ?5,
    longest_lease_micros = max(longest_lease_micros, coalesce(?2, ?1))
where name = 'default'
