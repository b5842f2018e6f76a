-- The time, and whether no server has a batch in flight after that. A batch is in flight while a session
-- that writes, which holds the lock ($3, $2), also holds the lock ($1, $2). Others may hold the latter, too.
with held as materialized (
    select pid, classid
    from pg_locks
    where locktype = 'advisory'
        and database = (select oid from pg_database where datname = current_database())
        and classid in ($1::integer::oid, $3::integer::oid)
        and objid = $2::integer::oid
        and objsubid = 2
        and granted
)
select
    transaction_timestamp(),
    not exists (
        select from held as batch
        join held as writer on writer.pid = batch.pid
        where batch.classid = $1::integer::oid and writer.classid = $3::integer::oid
    )
