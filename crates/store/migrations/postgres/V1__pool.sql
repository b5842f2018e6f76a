-- All tables are in the schema token_manager, which exists already: the migrations' own table is in it
-- too.

create table token_manager.pools (
    -- Also part of the key of the advisory lock that puts the pool's batches in order.
    id integer generated always as identity primary key,
    name text not null unique check (name <> ''),
    size integer not null check (size >= 0),
    epoch bigint not null check (epoch > 0),
    -- One document, as settings spell it: {"lease": "2m", "when_full": "evict-oldest", ...}.
    policy jsonb not null check (jsonb_typeof(policy) = 'object'),
    -- Maximum length of any lease, in microseconds: under every policy so far, or in the imported
    -- history. A search for the leases of a moment looks no further back.
    longest_lease bigint not null check (longest_lease >= 0)
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
-- previous_fence names the same token's lease before, 0 for none: the unique constraint ensures that a
-- token has no two leases after the same one. Running leases have no unique index: its few keys would
-- recur, and pile up while any session keeps a snapshot open. No foreign key refers to tokens: tokens
-- are never deleted, and each insert would lock a row there. The fill factor leaves room on the page to
-- write each lease's end next to its beginning, so that no index has to be touched for it; leases that
-- start together often end together, hence half.
create table token_manager.leases (
    id uuid primary key,
    pool integer not null,
    token_id uuid not null,
    user_id uuid not null,
    user_name text not null,
    fence bigint not null,
    previous_fence bigint not null,
    started_at timestamptz not null,
    -- The deadline that a renewed lease was granted with; null if that is expires_at.
    granted_until timestamptz,
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

-- Indexes of the history, besides a token's chain: all leases by time, and each user's leases by fence,
-- which rises with time. No index may contain, or be conditional on, ended_at, end_reason, expires_at or
-- granted_until: writing a lease's end or its renewed deadline next to its beginning touches no index
-- then, which is the main reason why a batch is cheap. Searches look up conditions on an end in the
-- rows.
--
-- Users' leases are in groups of 16,384 fences, so that new entries go to a few hundred kilobytes which
-- stay in the processor's cache. With the users first, each went to a page of its own: for 1,000 users
-- both indexes together then took half as long again as writing a lease otherwise takes, and a quarter
-- as they are.
create index leases_started_at_fence_idx
    on token_manager.leases (started_at, fence);
create index leases_user_id_idx
    on token_manager.leases ((fence >> 14), user_id, fence);

-- Requests that wait for a token. heard_at is the last heartbeat of the ticket's server as of the
-- ticket's own batch; the table servers may have a later one.
create table token_manager.tickets (
    pool integer not null,
    lease_id uuid not null,
    number bigint not null,
    server uuid not null,
    heard_at timestamptz not null,
    since timestamptz not null,
    until timestamptz not null,
    user_name text not null,
    key text collate "C",
    asked_lease bigint,
    asked_wait bigint,
    primary key (pool, lease_id),
    -- Not the pool first, so that the planner has no choice of indexes for the tickets of a pool.
    unique (number, pool)
) with (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000
);

-- Last heartbeat of each server with tickets: one row for all its tickets, so that a heartbeat costs the
-- same for any number of them.
create table token_manager.servers (
    pool integer not null,
    id uuid not null,
    heard_at timestamptz not null,
    primary key (pool, id)
) with (fillfactor = 50);

-- Used idempotency keys with their requests. Numbers have no gaps and only grow, so the first and the
-- last give the count. Lengths are in microseconds.
create table token_manager.idempotency_keys (
    pool integer not null,
    number bigint not null,
    user_id uuid not null,
    key text collate "C" not null,
    lease_id uuid not null,
    asked_lease bigint,
    asked_wait bigint,
    used_at timestamptz not null,
    primary key (pool, number),
    -- The pool comes last here, too.
    unique (key, user_id, pool)
) with (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02
);

-- For the deletion of old leases, which must spare leases with a key.
create index idempotency_keys_lease_id_idx on token_manager.idempotency_keys (lease_id);

-- Ends leases, all of them or none: a lease that does not run shows that the server decided on a wrong
-- copy of the pool. Every fence is within the bounds below. They let the planner expect a single lease,
-- and so look up each by its id; otherwise it reads the whole table while that is tiny, and a session
-- keeps such a plan.
create function token_manager.end_leases(
    ids uuid[], fences bigint[], ends timestamptz[], reasons text[]
) returns void language plpgsql as $$
declare
    ended bigint;
begin
    update token_manager.leases as lease
    set ended_at = e.at, end_reason = e.reason
    from unnest(ids, fences, ends, reasons) as e (id, fence, at, reason)
    where lease.id = e.id and lease.fence = e.fence and lease.ended_at is null
        and e.fence between 1 and 9223372036854775807;
    get diagnostics ended = row_count;
    if ended <> cardinality(ids) then
        raise exception 'of % leases to end, % were running', cardinality(ids), ended
            using errcode = 'integrity_constraint_violation';
    end if;
end
$$;

-- Moves deadlines, all of them or none, likewise.
create function token_manager.renew_leases(
    ids uuid[], fences bigint[], deadlines timestamptz[]
) returns void language plpgsql as $$
declare
    renewed bigint;
begin
    update token_manager.leases as lease
    set granted_until = coalesce(lease.granted_until, lease.expires_at), expires_at = r.deadline
    from unnest(ids, fences, deadlines) as r (id, fence, deadline)
    where lease.id = r.id and lease.fence = r.fence and lease.ended_at is null
        and r.fence between 1 and 9223372036854775807;
    get diagnostics renewed = row_count;
    if renewed <> cardinality(ids) then
        raise exception 'of % leases to renew, % were running', cardinality(ids), renewed
            using errcode = 'integrity_constraint_violation';
    end if;
end
$$;

-- Deletes tickets, all of them or none.
create function token_manager.leave_queue(of_pool integer, lease_ids uuid[])
returns void language plpgsql as $$
declare
    gone bigint;
begin
    delete from token_manager.tickets
    where pool = of_pool and lease_id = any (lease_ids);
    get diagnostics gone = row_count;
    if gone <> cardinality(lease_ids) then
        raise exception 'of % tickets to delete, % were there', cardinality(lease_ids), gone
            using errcode = 'integrity_constraint_violation';
    end if;
end
$$;

-- Moves tickets to other servers, all of them or none.
create function token_manager.move_tickets(
    of_pool integer, lease_ids uuid[], servers uuid[], moments timestamptz[]
) returns void language plpgsql as $$
declare
    moved bigint;
begin
    update token_manager.tickets as ticket
    set server = m.server, heard_at = m.at
    from unnest(lease_ids, servers, moments) as m (lease_id, server, at)
    where ticket.pool = of_pool and ticket.lease_id = m.lease_id;
    get diagnostics moved = row_count;
    if moved <> cardinality(lease_ids) then
        raise exception 'of % tickets to move, % were there', cardinality(lease_ids), moved
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

-- Every token with its current holder.
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
