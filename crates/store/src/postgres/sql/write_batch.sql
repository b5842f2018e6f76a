-- All of a batch but its commit: ends leases, starts others, appends the journal's entry. One
-- statement, since each has its own way through parser, executor and socket, a wake-up at each end.
with ended as materialized (
    select token_manager.end_leases($12::uuid[], $13::bigint[], $14::timestamptz[], $15::text[])
),
started as (
    insert into token_manager.leases (
        pool, id, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at,
        ended_at, end_reason
    )
    select $1::integer, lease.*
    from unnest(
        $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[],
        $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::text[]
    ) as lease
)
insert into token_manager.batches (
    pool, version, batch_id, server, at, epoch, fence, timeline, changes
)
select
    $1::integer, $16::bigint, $17::uuid, $18::uuid, $19::timestamptz, $20::bigint, $21::bigint,
    $22::text, $23::bytea
from ended
