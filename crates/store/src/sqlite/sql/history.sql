-- Along the token's chain, from `before` if that is a lease of this token, else from its latest.
with recursive chain as (
    select * from leases
    where pool = 'default' and fence = coalesce(
        (select fence from leases where pool = 'default' and fence = ?2 and token_id = ?1),
        (
            select latest.fence from tokens as t
            join latest_leases as latest on latest.pool = t.pool and latest.position = t.position
            where t.id = ?1
        )
    )
    union all
    select earlier.* from chain
    join leases as earlier
        on earlier.pool = 'default'
        and earlier.fence = chain.previous_fence
        and earlier.token_id = chain.token_id
)
select
    id, token_id, user_id, user_name, fence, previous_fence, started_at, expires_at,
    ended_at, end_reason
from chain
where fence < ?2
limit ?3
