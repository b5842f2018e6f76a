-- Names of pools, deleted ones too.
select id, name from token_manager.pools where id = any ($1::integer[])
