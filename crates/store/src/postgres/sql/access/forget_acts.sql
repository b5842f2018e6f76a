-- Keeps the $1 newest.
delete from token_manager.audit
where number in (
    select number from token_manager.audit
    where number <= (select max(number) from token_manager.audit) - $1::bigint
    order by number
    limit 500
)
