-- The token with this name or, if all of them are retired, the one added last.
(
    select id from token_manager.tokens
    where pool = $1::integer and name = $2::text and retired_at is null
)
union all
(
    select id from token_manager.tokens
    where pool = $1::integer and name = $2::text and retired_at is not null
    order by position desc
    limit 1
)
limit 1
