select (
    select count(*) from leases as l
    join pools as p on p.id = l.pool
    where p.deleted_at is not null and l.ended_at is null
) + (
    select count(*) from tickets as t
    join pools as p on p.id = t.pool
    where p.deleted_at is not null
)
