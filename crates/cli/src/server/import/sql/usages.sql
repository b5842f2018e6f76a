with numbered as (
    select
        id, token_id, user_id, started_at, ended_at,
        row_number() over (order by started_at, id) as fence
    from token_usages
),
chained as (
    select
        *,
        lag(fence) over chain as previous_fence,
        lead(started_at) over chain as next_started_at
    from numbered
    window chain as (partition by token_id order by started_at, id)
)
select
    usage.id::text,
    usage.token_id::text,
    usage.user_id::text,
    (extract(epoch from usage.started_at) * 1000000)::bigint,
    (extract(epoch from usage.ended_at) * 1000000)::bigint,
    (extract(epoch from usage.next_started_at) * 1000000)::bigint,
    usage.fence,
    coalesce(usage.previous_fence, 0),
    token.status::text
from chained as usage
left join tokens as token on token.id = usage.token_id
order by usage.fence
