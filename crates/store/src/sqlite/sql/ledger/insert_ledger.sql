insert into ledger (id, epoch, longest_lease_micros) values (1, 1, 0)
