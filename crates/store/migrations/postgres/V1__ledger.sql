-- All tables are in the schema token_manager, which exists already: the migrations' own table is in it
-- too.

-- What concerns all pools: one row.
create table token_manager.ledger (
    id integer primary key check (id = 1),
    epoch bigint not null check (epoch > 0),
    -- Maximum length of any lease, in microseconds: under every policy so far, or in the imported
    -- history. A search for the leases of a moment looks no further back.
    longest_lease bigint not null check (longest_lease >= 0),
    -- Blocks of leases above this one are not in pool_leases yet.
    indexed_block bigint not null default -1
);

-- Deleted pools stay, for their history. Their tokens stay as they were. Names are compared at the end of
-- a transaction, since within one they may pass from one row to another.
create table token_manager.pools (
    id integer primary key check (id > 0),
    name text collate "C" not null,
    description text not null,
    -- One document, as settings spell it: {"lease": "2m", "when_full": "evict-oldest", ...}.
    policy jsonb not null check (jsonb_typeof(policy) = 'object'),
    created_at timestamptz not null,
    deleted_at timestamptz,
    constraint pools_name exclude using btree (name with =) where (deleted_at is null)
        deferrable initially deferred
);

create index pools_by_name on token_manager.pools (name);

-- Retired tokens stay, for their history. Labels are an object of texts, taints an array of objects.
create table token_manager.tokens (
    id uuid primary key,
    pool integer not null references token_manager.pools (id),
    position bigint not null check (position >= 0),
    name text collate "C" not null,
    inserted_at timestamptz not null,
    retired_at timestamptz,
    value text not null,
    labels jsonb not null check (jsonb_typeof(labels) = 'object'),
    taints jsonb not null check (jsonb_typeof(taints) = 'array'),
    unique (pool, position),
    constraint tokens_name exclude using btree (pool with =, name with =) where (retired_at is null)
        deferrable initially deferred
);

-- So that no plan reads retired tokens to find the others, which have an index of their own.
create index tokens_retired on token_manager.tokens (pool, name, position) where retired_at is not null;

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
    note text,
    -- The API keys that allocated and that ended it, if any.
    granted_by text,
    ended_by text,
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

-- Retired tokens whose lease was running then: a start reads the few whose lease still runs, and no other
-- retired tokens. The others are removed whenever tokens are retired.
create table token_manager.retiring_tokens (
    id uuid primary key
);

-- The journal. timeline is PostgreSQL's own, which changes with a failover or restore. No foreign
-- key: each batch would lock a row. An entry stays in its row as long as that fits into a page.
create table token_manager.batches (
    version bigint primary key check (version > 0),
    batch_id uuid not null,
    server uuid not null,
    at timestamptz not null,
    epoch bigint not null check (epoch > 0),
    fence bigint not null check (fence >= 0),
    timeline text not null,
    changes bytea not null
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

-- Index of a pool's leases, so that those of a quiet pool are found among millions of others: for each
-- block of 16,384 fences, the pools that have leases there. It has all leases of the blocks up to
-- ledger.indexed_block, and servers add a block beside the batches once it is complete: an index of leases
-- by pool would cost each batch as much as the one by user. `ids` are the leases, if they are few; null means that
-- they are searched for among those that started from oldest_at to newest_at.
create table token_manager.pool_leases (
    block bigint not null,
    pool integer not null,
    oldest_at timestamptz not null,
    newest_at timestamptz not null,
    ids uuid[],
    primary key (block, pool)
);

-- Requests that wait for a token. heard_at is the last heartbeat of the ticket's server as of the
-- ticket's own batch; the table servers may have a later one.
create table token_manager.tickets (
    lease_id uuid primary key,
    number bigint not null unique,
    server uuid not null,
    heard_at timestamptz not null,
    since timestamptz not null,
    until timestamptz not null,
    user_name text not null,
    key text collate "C",
    asked_lease bigint,
    asked_wait bigint,
    pool integer not null,
    -- The requested token, if any.
    token_id uuid,
    note text
) with (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000
);

-- Last heartbeat of each server with tickets: one row for all its tickets, so that a heartbeat costs the
-- same for any number of them.
create table token_manager.servers (
    id uuid primary key,
    heard_at timestamptz not null
) with (fillfactor = 50);

-- Used idempotency keys with their requests. Numbers have no gaps and only grow, so the first and the
-- last give the count. Lengths are in microseconds.
create table token_manager.idempotency_keys (
    number bigint primary key,
    user_id uuid not null,
    key text collate "C" not null,
    lease_id uuid not null,
    asked_lease bigint,
    asked_wait bigint,
    -- Whether the request named the token.
    asked_token boolean not null,
    used_at timestamptz not null,
    unique (key, user_id)
) with (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02
);

-- For the deletion of old leases, which must spare leases with a key.
create index idempotency_keys_lease_id_idx on token_manager.idempotency_keys (lease_id);

-- API keys. Revoked ones stay, for the audit log. Pools and users are arrays of patterns. Secrets are an
-- array of objects, newest first: {"sha256": "9f86..", "until": null}. last_used_at is written once a minute
-- at most.
create table token_manager.api_keys (
    id text collate "C" primary key,
    name text collate "C" not null,
    rights text not null,
    pools jsonb not null check (jsonb_typeof(pools) = 'array'),
    users jsonb not null check (jsonb_typeof(users) = 'array'),
    secrets jsonb not null check (jsonb_typeof(secrets) = 'array'),
    created_at timestamptz not null,
    created_by text collate "C",
    expires_at timestamptz,
    revoked_at timestamptz,
    max_requests_per_second bigint,
    max_leases bigint,
    last_used_at timestamptz
);

create unique index api_keys_name on token_manager.api_keys (name) where revoked_at is null;

-- Sessions of browsers, and codes for them. The hash is the SHA-256 of the secret.
create table token_manager.sessions (
    hash bytea primary key check (length(hash) = 32),
    key text collate "C" not null references token_manager.api_keys (id),
    kind text not null,
    started_at timestamptz not null,
    expires_at timestamptz not null
);

create index sessions_expires_at on token_manager.sessions (expires_at);

-- What was done with which API key, apart from allocations, renewals and the holders' releases. The name is
-- that of the key at the time.
create table token_manager.audit (
    number bigint generated always as identity primary key,
    at timestamptz not null,
    version bigint not null,
    actor_id text collate "C",
    actor_name text collate "C",
    action text not null,
    pool text collate "C",
    subject text not null
);

-- Ends leases, all of them or none: a lease that does not run shows that the server decided on a wrong
-- copy of the ledger. Every fence is within the bounds below. They let the planner expect a single lease,
-- and so look up each by its id; otherwise it reads the whole table while that is tiny, and a session
-- keeps such a plan.
create function token_manager.end_leases(
    ids uuid[], fences bigint[], ends timestamptz[], reasons text[], keys text[]
) returns void language plpgsql as $$
declare
    ended bigint;
begin
    update token_manager.leases as lease
    set ended_at = e.at, end_reason = e.reason, ended_by = e.key
    from unnest(ids, fences, ends, reasons, keys) as e (id, fence, at, reason, key)
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
create function token_manager.leave_queue(lease_ids uuid[])
returns void language plpgsql as $$
declare
    gone bigint;
begin
    delete from token_manager.tickets
    where lease_id = any (lease_ids);
    get diagnostics gone = row_count;
    if gone <> cardinality(lease_ids) then
        raise exception 'of % tickets to delete, % were there', cardinality(lease_ids), gone
            using errcode = 'integrity_constraint_violation';
    end if;
end
$$;

-- Moves tickets to other servers, all of them or none.
create function token_manager.move_tickets(
    lease_ids uuid[], servers uuid[], moments timestamptz[]
) returns void language plpgsql as $$
declare
    moved bigint;
begin
    update token_manager.tickets as ticket
    set server = m.server, heard_at = m.at
    from unnest(lease_ids, servers, moments) as m (lease_id, server, at)
    where ticket.lease_id = m.lease_id;
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
    coalesce(lease.end_reason, case when seen.ended_at is not null then 'expired' end) as end_reason,
    pool.name as pool,
    token.name as token_name,
    lease.note,
    lease.granted_by,
    lease.ended_by
from token_manager.leases as lease
left join token_manager.pools as pool on pool.id = lease.pool
left join token_manager.tokens as token on token.id = lease.token_id
cross join lateral (
    select coalesce(
        lease.ended_at, case when lease.expires_at <= clock_timestamp() then lease.expires_at end
    ) as ended_at
) as seen;

-- Every token with its current holder: without the tokens of deleted pools, and without retired ones that
-- are free.
create view token_manager.token_status as
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
