-- Every token with its current holder: without the tokens of deleted pools, and without retired ones that
-- are free.
create or replace view token_manager.token_status as
select
    token.id,
    token.value,
    token.position,
    case
        when lease.id is not null then 'active'
        when exists (
            select from jsonb_array_elements(token.taints) as taint
            where taint ->> 'effect' <> 'note'
                and coalesce(
                    (taint ->> 'until')::bigint > extract(epoch from clock_timestamp()) * 1000000, true
                )
        ) then 'tainted'
        else 'available'
    end as status,
    lease.user_name,
    lease.user_id,
    lease.fence,
    token_manager.iso(lease.started_at) as activated_at,
    token_manager.iso(lease.expires_at) as expires_at,
    token_manager.iso(token.inserted_at) as inserted_at,
    pool.name as pool,
    token.name,
    token.labels,
    token.taints,
    token_manager.iso(token.retired_at) as retired_at,
    lease.note
from token_manager.tokens as token
join token_manager.pools as pool on pool.id = token.pool
left join lateral (
    select * from token_manager.leases as latest
    where latest.token_id = token.id
    order by latest.previous_fence desc
    limit 1
) as lease on lease.ended_at is null and lease.expires_at > clock_timestamp()
where pool.deleted_at is null and (token.retired_at is null or lease.id is not null);

-- Every pool with the numbers of its tokens and waiting requests: without deleted pools.
create view token_manager.pool_status as
with of_tokens as (
    select
        pool,
        count(*) as size,
        count(*) filter (where status = 'active') as active,
        count(*) filter (where status = 'available') as available,
        count(*) filter (where status = 'tainted') as tainted,
        count(*) filter (where retired_at is not null) as retiring
    from token_manager.token_status
    group by pool
), of_tickets as (
    select pool, count(*) as waiting from token_manager.tickets
    where until > clock_timestamp()
    group by pool
)
select
    pool.name as pool,
    pool.description,
    coalesce(t.size, 0) as size,
    coalesce(t.active, 0) as active,
    coalesce(t.available, 0) as available,
    coalesce(t.tainted, 0) as tainted,
    coalesce(t.retiring, 0) as retiring,
    coalesce(q.waiting, 0) as waiting,
    token_manager.iso(pool.created_at) as created_at
from token_manager.pools as pool
left join of_tokens as t on t.pool = pool.name
left join of_tickets as q on q.pool = pool.id
where pool.deleted_at is null;
