-- Every token of the pools that exist with its latest lease, if it has any; never the history. Of the
-- retired ones, only those whose latest lease has no end.
select
    token.id, token.pool, token.position, token.name, token.value, token.labels::text,
    token.taints::text, token.inserted_at, token.retired_at,
    {lease: lease}
from token_manager.pools as pool
join token_manager.tokens as token on token.pool = pool.id
left join lateral (
    select * from token_manager.leases as latest
    where latest.token_id = token.id
    order by latest.previous_fence desc
    limit 1
) as lease on true
where pool.deleted_at is null
    and (token.retired_at is null or (lease.id is not null and lease.ended_at is null))
