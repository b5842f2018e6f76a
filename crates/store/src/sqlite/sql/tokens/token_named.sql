-- The token with this name or, if all of them are retired, the one added last.
select coalesce(
    (select id from tokens where pool = ?1 and name = ?2 and retired_at is null),
    (
        select id from tokens indexed by tokens_retired
        where pool = ?1 and name = ?2 and retired_at is not null
        order by position desc
        limit 1
    )
)
