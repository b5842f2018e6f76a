insert into pools (name, size, lease_micros, epoch) values ('default', ?1, ?2, ?3)
