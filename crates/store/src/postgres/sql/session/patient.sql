-- Loading a large ledger may take longer than any other statement.
set local statement_timeout = '10min'
