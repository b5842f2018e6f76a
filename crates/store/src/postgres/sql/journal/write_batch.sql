-- The work of most batches: ends leases, starts others, appends the journal entry. One statement, since
-- each statement costs a run through parser, executor and socket, and a wake-up at both ends. An array
-- that is shorter than the others of its kind is treated as if padded with nulls. The lease columns come
-- last, so that a new one moves no other parameter.
with ended as materialized (
    select token_manager.end_leases(
        $1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[]
    )
),
started as (
    insert into token_manager.leases ({lease})
    select lease.*
    from unnest({lease arrays from 14}) as lease
)
insert into token_manager.batches (
    version, batch_id, server, at, epoch, fence, timeline, changes
)
select
    $6::bigint, $7::uuid, $8::uuid, $9::timestamptz, $10::bigint, $11::bigint,
    $12::text, $13::bytea
from ended
