set local statement_timeout to default
