-- Looks at the first few from number $2 on only, and leaves alone what another server is deleting.
with oldest as materialized (
    select number, used_at
    from token_manager.idempotency_keys
    where pool = $1::integer and number >= $2::bigint
    order by number
    limit 500
    for update skip locked
)
delete from token_manager.idempotency_keys
where pool = $1::integer
    and number = any (array(select number from oldest where used_at < $3::timestamptz))
returning number
