-- Every token with its latest lease, if it has any; never the history.
select
    token.id, token.value, token.inserted_at,
    {lease: lease}
from token_manager.tokens as token
left join lateral (
    select * from token_manager.leases as latest
    where latest.token_id = token.id
    order by latest.previous_fence desc
    limit 1
) as lease on true
where token.pool = $1::integer
order by token.position
