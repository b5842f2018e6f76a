-- Every token of the pools that exist with its latest lease, if it has any; never the history. Of the
-- retired ones, only those whose latest lease has no end. Orders and limits keep each part from looking at
-- other tokens, under any statistics of the tables.
select
    token.id, token.pool, token.position, token.name, token.value, token.labels::text,
    token.taints::text, token.inserted_at, token.retired_at,
    {lease: lease}
from token_manager.pools as pool
cross join lateral (
    select * from token_manager.tokens as one
    where one.pool = pool.id and one.retired_at is null
    order by one.pool, one.name
    limit 1000000000
) as token
left join lateral (
    select * from token_manager.leases as latest
    where latest.token_id = token.id
    order by latest.previous_fence desc
    limit 1
) as lease on true
where pool.deleted_at is null
union all
select
    token.id, token.pool, token.position, token.name, token.value, token.labels::text,
    token.taints::text, token.inserted_at, token.retired_at,
    {lease: lease}
from (select id from token_manager.retiring_tokens offset 0) as retiring
cross join lateral (
    select * from token_manager.tokens as one where one.id = retiring.id limit 1
) as token
cross join lateral (
    select * from token_manager.pools as one where one.id = token.pool limit 1
) as pool
cross join lateral (
    select * from token_manager.leases as latest
    where latest.token_id = token.id
    order by latest.previous_fence desc
    limit 1
) as lease
where pool.deleted_at is null and lease.ended_at is null
