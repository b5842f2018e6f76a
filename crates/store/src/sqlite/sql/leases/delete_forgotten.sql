delete from forgotten_leases where number <= ?1
