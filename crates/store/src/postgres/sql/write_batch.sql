-- All that most batches come to: ends leases, starts others, appends the journal's entry. One
-- statement, since each has its own way through parser, executor and socket, a wake-up at each end. An
-- array that is shorter than the others of its kind stands for one that goes on with nulls.
with ended as materialized (
    select token_manager.end_leases($13::uuid[], $14::bigint[], $15::timestamptz[], $16::text[])
),
started as (
    insert into token_manager.leases (
        pool, id, token_id, user_id, user_name, fence, previous_fence, started_at, granted_until,
        expires_at, ended_at, end_reason
    )
    select $1::integer, lease.*
    from unnest(
        $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[],
        $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::text[]
    ) as lease
)
insert into token_manager.batches (
    pool, version, batch_id, server, at, epoch, fence, timeline, changes
)
select
    $1::integer, $17::bigint, $18::uuid, $19::uuid, $20::timestamptz, $21::bigint, $22::bigint,
    $23::text, $24::bytea
from ended
