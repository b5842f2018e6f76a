-- The pool with this name that was created last. The offset keeps the planner from looking through the
-- pools by number.
select id from (select id from token_manager.pools where name = $1::text offset 0) as named
order by id desc
limit 1
