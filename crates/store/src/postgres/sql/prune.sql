-- Looks at the first few from version $2 on only, and leaves alone what another server is deleting.
delete from token_manager.batches
where pool = $1::integer and version in (
    select old.version
    from token_manager.batches as old
    where old.pool = $1::integer and old.version >= $2::bigint
    order by old.version
    limit $5::bigint
    for update skip locked
)
and version < (select max(version) from token_manager.batches where pool = $1::integer)
and (
    at < $3::timestamptz
    or version < (select max(version) from token_manager.batches where pool = $1::integer) - $4::bigint
)
returning version
