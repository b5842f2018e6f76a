-- Notes the tokens that are retired while their lease runs, and removes those whose lease has ended.
with over as (
    delete from token_manager.retiring_tokens as retiring
    where coalesce((
        select latest.ended_at is not null from token_manager.leases as latest
        where latest.token_id = retiring.id
        order by latest.previous_fence desc
        limit 1
    ), true)
)
insert into token_manager.retiring_tokens (id)
select retired.id
from unnest($1::uuid[]) as retired (id)
where (
    select latest.ended_at is null from token_manager.leases as latest
    where latest.token_id = retired.id
    order by latest.previous_fence desc
    limit 1
)
