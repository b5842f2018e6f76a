insert into token_manager.ledger (id, epoch, longest_lease) values (1, 1, 0)
