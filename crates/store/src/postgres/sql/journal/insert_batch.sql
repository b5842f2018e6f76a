insert into token_manager.batches (
    version, batch_id, server, at, epoch, fence, timeline, changes
)
values (
    $1::bigint, $2::uuid, $3::uuid, $4::timestamptz, $5::bigint, $6::bigint, $7::text, $8::bytea
)
