-- Pools and names of tokens, retired ones too.
select id, pool, name from token_manager.tokens where id = any ($1::uuid[])
