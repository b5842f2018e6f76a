select count(*)
from token_manager.tokens as token
cross join lateral (
    select ended_at from token_manager.leases as latest
    where latest.token_id = token.id
    order by latest.previous_fence desc
    limit 1
) as lease
where token.retired_at is not null
    and lease.ended_at is null
    and not exists (select from token_manager.retiring_tokens as retiring where retiring.id = token.id)
