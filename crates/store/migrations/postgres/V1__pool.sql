-- Everything is in the schema token_manager, which exists already: the migrations' own table is in
-- it too.

create table token_manager.pools (
    -- Also part of the key of the advisory lock that puts the pool's batches in order.
    id integer generated always as identity primary key,
    name text not null unique check (name <> ''),
    size integer not null check (size >= 0),
    -- How long a lease lasts, in microseconds.
    lease bigint not null check (lease > 0),
    epoch bigint not null check (epoch > 0)
);

create table token_manager.tokens (
    id uuid primary key,
    pool integer not null references token_manager.pools (id),
    value uuid not null unique,
    position integer not null check (position >= 0),
    inserted_at timestamptz not null,
    unique (pool, position)
);

-- A token has a holder exactly while it has a lease without an end whose deadline is not reached.
-- previous_fence names the same token's lease before, 0 for none: that a token has no two leases
-- after the same one is what the unique constraint holds. There is no unique index on running
-- leases: its few keys would recur, and while any session keeps a snapshot open they pile up. There
-- is no foreign key to tokens: tokens are never deleted, and each insert would lock a row there.
-- The fill factor leaves room on the page to write each lease's end next to its beginning, so that no
-- index has to be touched for it; leases that start together often end together, hence half.
create table token_manager.leases (
    id uuid primary key,
    pool integer not null,
    token_id uuid not null,
    user_id uuid not null,
    user_name text not null,
    fence bigint not null,
    previous_fence bigint not null,
    started_at timestamptz not null,
    expires_at timestamptz not null,
    ended_at timestamptz,
    end_reason text,
    unique (token_id, previous_fence),
    -- One check instead of several: each costs every statement that writes here a share of its time.
    check (
        previous_fence >= 0
        and fence > previous_fence
        and started_at <= expires_at
        and case
            when ended_at is null then end_reason is null
            else started_at <= ended_at
                and ended_at <= expires_at
                and end_reason is not null
                and end_reason in ('released', 'expired', 'evicted', 'cleared', 'imported')
        end
    )
) with (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02
);

-- The journal. timeline is PostgreSQL's own, which changes with a failover or restore. No foreign
-- key to pools: each batch would lock the pool's row, and pools are never deleted. An entry stays in
-- its row as long as that fits into a page.
create table token_manager.batches (
    pool integer not null,
    version bigint not null check (version > 0),
    batch_id uuid not null,
    server uuid not null,
    at timestamptz not null,
    epoch bigint not null check (epoch > 0),
    fence bigint not null check (fence >= 0),
    timeline text not null,
    changes bytea not null,
    primary key (pool, version)
) with (
    toast_tuple_target = 8160,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 5000,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 5000
);

-- Compressing it takes longer than writing it.
alter table token_manager.batches alter column changes set storage external;

-- Ends leases, all of them or none: that one of them is not running means that whoever decided this
-- had a wrong picture of the pool.
create function token_manager.end_leases(
    ids uuid[], fences bigint[], ends timestamptz[], reasons text[]
) returns void language plpgsql as $$
declare
    ended bigint;
begin
    update token_manager.leases as lease
    set ended_at = e.at, end_reason = e.reason
    from unnest(ids, fences, ends, reasons) as e (id, fence, at, reason)
    where lease.id = e.id and lease.fence = e.fence and lease.ended_at is null;
    get diagnostics ended = row_count;
    if ended <> cardinality(ids) then
        raise exception 'of % leases to end, % were running', cardinality(ids), ended
            using errcode = 'integrity_constraint_violation';
    end if;
end
$$;

create function token_manager.iso(moment timestamptz) returns text
language sql stable as $$
    select to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- Every lease, with its end as of this moment. (The column is not called user, because that word
-- without quotes means the database's own user.)
create view token_manager.token_history as
select
    lease.id,
    lease.token_id,
    case when seen.ended_at is null then 'active' else 'over' end as status,
    lease.user_name,
    lease.user_id,
    lease.fence,
    lease.previous_fence,
    token_manager.iso(lease.started_at) as started_at,
    token_manager.iso(lease.expires_at) as expires_at,
    token_manager.iso(seen.ended_at) as ended_at,
    coalesce(lease.end_reason, case when seen.ended_at is not null then 'expired' end) as end_reason
from token_manager.leases as lease
cross join lateral (
    select coalesce(
        lease.ended_at, case when lease.expires_at <= clock_timestamp() then lease.expires_at end
    ) as ended_at
) as seen;

-- Every token, and who holds it at this moment.
create view token_manager.token_status as
select
    token.id,
    token.value,
    token.position,
    case when lease.id is null then 'available' else 'active' end as status,
    lease.user_name,
    lease.user_id,
    lease.fence,
    token_manager.iso(lease.started_at) as activated_at,
    token_manager.iso(lease.expires_at) as expires_at,
    token_manager.iso(token.inserted_at) as inserted_at
from token_manager.tokens as token
left join lateral (
    select * from token_manager.leases as latest
    where latest.token_id = token.id
    order by latest.previous_fence desc
    limit 1
) as lease on lease.ended_at is null and lease.expires_at > clock_timestamp();
