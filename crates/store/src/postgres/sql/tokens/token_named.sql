-- The token with this name or, if all of them are retired, the one added last.
select id from token_manager.tokens
where pool = $1::integer and name = $2::text
order by retired_at is not null, position desc
limit 1
