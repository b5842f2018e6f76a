-- The pool with this name that was created last.
select id from token_manager.pools where name = $1::text order by id desc limit 1
