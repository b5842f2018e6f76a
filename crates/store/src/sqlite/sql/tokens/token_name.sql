-- The pool and the name of a token, retired or not.
select pool, name from tokens where id = ?1
