-- Only adds: servers of the release before go on working while this one replaces them. Their statements
-- name their columns, so each new column has a default or may be null.

-- Who holds these tables for long keeps others from them, too, who come after this: rather not now
-- than so.
set local lock_timeout = '3s';

-- Those who wait for a token. heard_at is when the ticket's server was last heard of as the ticket
-- itself tells it; the table servers may know better.
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
    -- Not the pool first, so that whoever asks for tickets of a pool has no choice of indexes.
    unique (number, pool)
) with (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000
);

-- When a server with tickets was last heard of: one row for all its tickets, so that being alive
-- costs the same however many wait.
create table token_manager.servers (
    pool integer not null,
    id uuid not null,
    heard_at timestamptz not null,
    primary key (pool, id)
) with (fillfactor = 50);

-- The idempotency keys that were used, and what for. Numbers have no gaps and only grow, so the first
-- and the last tell how many there are. Lengths are in microseconds.
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

-- For whoever deletes leases, who must spare these.
create index idempotency_keys_lease_id_idx on token_manager.idempotency_keys (lease_id);

-- As it was, but for the bounds of the fence, which every fence keeps: they let the planner expect a
-- single lease, and so look up each by its id. While the table was tiny it took to reading all of it
-- instead, which a session then went on doing for as long as it kept that plan.
create or replace function token_manager.end_leases(
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

-- Lets other servers serve tickets, all of them or none.
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

-- The policy; lengths are in microseconds. A null max_lease is as long as lease. longest_lease is the
-- longest that a lease may ever have run, under every policy so far or where it was imported from:
-- who looks for the leases of a moment need not look further back. The release before changes lease
-- alone, so whoever reads it takes the greatest of it, lease and max_lease.
alter table token_manager.pools
    add column max_lease bigint check (max_lease > 0),
    add column when_full text not null default 'evict-oldest'
        check (when_full in ('evict-oldest', 'reject', 'wait')),
    add column min_hold bigint not null default 0 check (min_hold >= 0),
    add column max_per_user bigint check (max_per_user > 0),
    add column longest_lease bigint not null default 0 check (longest_lease >= 0);

update token_manager.pools as pool
set longest_lease = greatest(pool.lease, (
    select ceil(extract(epoch from max(lease.expires_at - lease.started_at)) * 1000000)::bigint
    from token_manager.leases as lease
    where lease.pool = pool.id
));

-- The deadline that a lease was granted with, where it was renewed; otherwise that is expires_at. This
-- comes last because it keeps readers out, too, until all is done.
alter table token_manager.leases add column granted_until timestamptz;
