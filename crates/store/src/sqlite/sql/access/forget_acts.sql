-- Keeps the ?1 newest.
delete from audit
where number in (
    select number from audit
    where number <= (select max(number) from audit) - ?1
    order by number
    limit 128
)
