insert into pools (name, size, epoch, policy, longest_lease_micros)
values ('default', ?1, 1, ?2, ?3)
