-- How many sessions but $3 hold the shared lock ($1, $2), which each one that listens does.
select count(*)
from pg_locks
where locktype = 'advisory'
    and database = (select oid from pg_database where datname = current_database())
    and classid = $1::integer::oid
    and objid = $2::integer::oid
    and objsubid = 2
    and pid <> $3::integer
    and granted
