insert into pools (
    name, size, epoch, lease_micros, max_lease_micros, when_full, min_hold_micros, max_per_user,
    longest_lease_micros
)
values ('default', ?1, 1, ?2, ?3, ?4, ?5, ?6, coalesce(?3, ?2))
