-- Number of sessions except $3 that hold the shared lock ($1, $2), as each listener does.
select count(*)
from pg_locks
where locktype = 'advisory'
    and database = (select oid from pg_database where datname = current_database())
    and classid = $1::integer::oid
    and objid = $2::integer::oid
    and objsubid = 2
    and pid <> $3::integer
    and granted
