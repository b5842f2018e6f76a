insert into token_manager.tickets (
    lease_id, number, server, heard_at, since, until, user_name, key, asked_lease, asked_wait, pool,
    token_id, note
)
select ticket.*
from unnest(
    $1::uuid[], $2::bigint[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
    $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::integer[], $12::uuid[], $13::text[]
) as ticket
