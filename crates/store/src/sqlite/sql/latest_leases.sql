select
    l.id, l.token_id, l.user_id, l.user_name, l.fence, l.previous_fence, l.started_at, l.expires_at,
    l.ended_at, l.end_reason
from tokens as t
join leases as l
    on l.id = (
        select latest.id from leases as latest
        where latest.token_id = t.id
        order by latest.previous_fence desc
        limit 1
    )
where t.pool = 'default'
