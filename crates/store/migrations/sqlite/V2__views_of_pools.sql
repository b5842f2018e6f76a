drop view token_status;

-- Every token with its current holder, by this machine's clock: without the tokens of deleted pools, and
-- without retired ones that are free.
create view token_status as
with seen as (
    select
        t.*,
        exists (
            select 1 from json_each(t.taints) as taint
            where
                json_extract(taint.value, '$.effect') <> 'note'
                and coalesce(json_extract(taint.value, '$.until') > cast(round((julianday('now') - 2440587.5) * 86400000) as integer) * 1000, true)
        ) as tainted
    from tokens as t
)
select
    lower(printf('%s-%s-%s-%s-%s', substr(hex(t.id), 1, 8), substr(hex(t.id), 9, 4), substr(hex(t.id), 13, 4), substr(hex(t.id), 17, 4), substr(hex(t.id), 21))) as id,
    t.value,
    t.position,
    iif(l.id is not null, 'active', iif(t.tainted, 'tainted', 'available')) as status,
    l.user_name,
    lower(printf('%s-%s-%s-%s-%s', substr(hex(l.user_id), 1, 8), substr(hex(l.user_id), 9, 4), substr(hex(l.user_id), 13, 4), substr(hex(l.user_id), 17, 4), substr(hex(l.user_id), 21))) as user_id,
    l.fence,
    strftime('%Y-%m-%dT%H:%M:%S', l.started_at / 1000000, 'unixepoch') || printf('.%06dZ', l.started_at % 1000000) as activated_at,
    strftime('%Y-%m-%dT%H:%M:%S', l.expires_at / 1000000, 'unixepoch') || printf('.%06dZ', l.expires_at % 1000000) as expires_at,
    strftime('%Y-%m-%dT%H:%M:%S', t.inserted_at / 1000000, 'unixepoch') || printf('.%06dZ', t.inserted_at % 1000000) as inserted_at,
    p.name as pool,
    t.name,
    t.labels,
    t.taints,
    strftime('%Y-%m-%dT%H:%M:%S', t.retired_at / 1000000, 'unixepoch') || printf('.%06dZ', t.retired_at % 1000000) as retired_at,
    l.note
from seen as t
join pools as p on p.id = t.pool
left join latest_leases as latest on latest.pool = t.pool and latest.position = t.position
left join leases as l
    on l.fence = latest.fence
    and l.ended_at is null
    and l.expires_at > cast(round((julianday('now') - 2440587.5) * 86400000) as integer) * 1000
where p.deleted_at is null and (t.retired_at is null or l.id is not null);

-- Every pool with the numbers of its tokens and waiting requests, by this machine's clock: without deleted
-- pools.
create view pool_status as
with of_tokens as (
    select
        pool,
        count(*) as size,
        sum(status = 'active') as active,
        sum(status = 'available') as available,
        sum(status = 'tainted') as tainted,
        sum(retired_at is not null) as retiring
    from token_status
    group by pool
), of_tickets as (
    select pool, count(*) as waiting from tickets
    where until > cast(round((julianday('now') - 2440587.5) * 86400000) as integer) * 1000
    group by pool
)
select
    p.name as pool,
    p.description,
    coalesce(t.size, 0) as size,
    coalesce(t.active, 0) as active,
    coalesce(t.available, 0) as available,
    coalesce(t.tainted, 0) as tainted,
    coalesce(t.retiring, 0) as retiring,
    coalesce(q.waiting, 0) as waiting,
    strftime('%Y-%m-%dT%H:%M:%S', p.created_at / 1000000, 'unixepoch') || printf('.%06dZ', p.created_at % 1000000) as created_at
from pools as p
left join of_tokens as t on t.pool = p.name
left join of_tickets as q on q.pool = p.id
where p.deleted_at is null;
