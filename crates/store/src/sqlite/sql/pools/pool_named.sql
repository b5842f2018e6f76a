-- The pool with this name that was created last.
select id from pools where name = ?1 order by id desc limit 1
