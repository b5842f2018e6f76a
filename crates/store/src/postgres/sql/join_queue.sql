insert into token_manager.tickets (pool, lease_id, number, server, heard_at, until)
select $1::integer, ticket.*
from unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::timestamptz[], $6::timestamptz[]) as ticket
