insert into token_manager.tickets (
    pool, lease_id, number, server, heard_at, since, until, user_name, key, asked_lease, asked_wait
)
select $1::integer, ticket.*
from unnest(
    $2::uuid[], $3::bigint[], $4::uuid[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
    $8::text[], $9::text[], $10::bigint[], $11::bigint[]
) as ticket
