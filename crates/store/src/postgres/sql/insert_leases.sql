-- An array that is shorter than the others stands for one that goes on with nulls.
insert into token_manager.leases (
    pool, id, token_id, user_id, user_name, fence, previous_fence, started_at, granted_until,
    expires_at, ended_at, end_reason
)
select $1::integer, lease.*
from unnest(
    $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[],
    $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::text[]
) as lease
