insert into token_manager.batches (
    pool, version, batch_id, server, at, epoch, fence, timeline, changes
)
values (
    $1::integer, $2::bigint, $3::uuid, $4::uuid, $5::timestamptz, $6::bigint, $7::bigint, $8::text,
    $9::bytea
)
