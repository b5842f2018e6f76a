-- The names of a token and its pool.
select p.name, t.name from tokens as t join pools as p on p.id = t.pool where t.id = ?1
