-- In the header of the file (`TokM`), for `file` and other programs.
pragma application_id = 1416588109;

-- Times are whole microseconds since 1970-01-01T00:00:00Z, ids are UUIDs of 16 bytes; the views at the
-- end show both in their usual text form.

-- What concerns all pools: one row.
create table ledger (
    id integer primary key check (id = 1),
    epoch integer not null check (epoch > 0),
    -- Maximum length of any lease: under every policy so far, or in the imported history.
    longest_lease_micros integer not null,
    -- Leases above this fence are not in user_leases yet.
    indexed_fence integer not null default 0,
    -- The newest lease that was deleted for its age: above it, each lease has the one before it.
    forgotten_fence integer not null default 0
) strict;

-- Deleted pools stay, for their history. Their tokens stay as they were.
create table pools (
    id integer primary key check (id > 0),
    name text not null,
    description text not null,
    -- One document, as settings spell it: {"lease": "2m", "when_full": "evict-oldest", ...}.
    policy text not null check (json_valid(policy) and json_type(policy) = 'object'),
    created_at integer not null,
    deleted_at integer
) strict;

create unique index pools_name on pools (name) where deleted_at is null;
create index pools_by_name on pools (name, id);

-- Retired tokens stay, for their history. Labels are an object of texts, taints an array of objects. In the
-- order of pools and positions, so that a start reads tokens that are next to each other: ids are random.
create table tokens (
    id blob not null check (length(id) = 16),
    pool integer not null references pools (id),
    position integer not null check (position >= 0),
    name text not null,
    inserted_at integer not null,
    retired_at integer,
    value text not null,
    labels text not null check (json_valid(labels) and json_type(labels) = 'object'),
    taints text not null check (json_valid(taints) and json_type(taints) = 'array'),
    primary key (pool, position)
) strict, without rowid;

-- Has pool and position, too, and so all that a grant reads. Not a constraint of the table, since SQLite would not
-- notice that then.
create unique index tokens_id on tokens (id);
create unique index tokens_name on tokens (pool, name) where retired_at is null;
create index tokens_retired on tokens (pool, name, position) where retired_at is not null;

-- A token has a holder exactly while it has a lease without an end whose deadline is not reached.
-- Each eviction writes here twice, so the layout keeps that cheap (figures in docs/benchmarks.md):
-- - The fence is the key of the table's own tree, which grows at its end.
-- - Every index grows at its end as well, for any order of the tokens. One that began with the token
--   would grow in a separate place for each token, and write a page for each lease.
-- - No check compares with a list of words: for `in (..)` with more than two, each statement builds a
--   temporary table, which took nearly half of the instructions of an eviction.
-- - No trigger runs at an insert: SQLite would keep copies of the changed pages for each statement, to
--   undo it. What inserts leases updates latest_leases itself, and the audit compares them.
create table leases (
    id blob not null unique check (length(id) = 16),
    pool integer not null,
    token_id blob not null references tokens (id),
    user_id blob not null check (length(user_id) = 16),
    user_name text not null,
    fence integer primary key,
    previous_fence integer not null check (previous_fence >= 0),
    started_at integer not null,
    -- The deadline that a renewed lease was granted with; null if that is expires_at.
    granted_until integer,
    expires_at integer not null,
    ended_at integer,
    end_reason text,
    note text,
    -- The API keys that allocated and that ended it, if any.
    granted_by text,
    ended_by text,
    check (fence > previous_fence),
    check (started_at <= expires_at),
    check (started_at <= granted_until and granted_until <= expires_at),
    check (started_at <= ended_at and ended_at <= expires_at),
    check ((ended_at is null) = (end_reason is null))
) strict;

-- `previous_fence` names the same token's lease before, 0 for none. No two leases come after the same
-- one, and no token has two first leases. One index on both columns would repeat the token in each
-- entry. SQLite uses the first one only for statements that say `previous_fence > 0`.
create unique index leases_previous_fence on leases (previous_fence) where previous_fence > 0;
create unique index leases_first on leases (token_id) where previous_fence = 0;

-- Entry point of each token's chain of leases. By position, since tokens that are granted together are
-- mostly adjacent.
create table latest_leases (
    pool integer not null,
    position integer not null,
    fence integer not null,
    primary key (pool, position),
    foreign key (pool, position) references tokens (pool, position)
) strict, without rowid;

-- Retired tokens whose lease was running then: a start reads the few whose lease still runs, and no other
-- retired tokens. The others are removed whenever tokens are retired.
create table retiring_tokens (
    id blob primary key check (length(id) = 16)
) strict, without rowid;

-- The journal. `changes` is last, so that the other columns are read without it.
create table batches (
    version integer primary key check (version > 0),
    batch_id blob not null check (length(batch_id) = 16),
    server blob not null check (length(server) = 16),
    at integer not null,
    epoch integer not null check (epoch > 0),
    fence integer not null check (fence >= 0),
    changes blob not null
) strict;

-- Requests that wait for a token, first come first served.
create table tickets (
    number integer primary key check (number > 0),
    lease_id blob not null unique check (length(lease_id) = 16),
    server blob not null check (length(server) = 16),
    heard_at integer not null,
    since integer not null,
    until integer not null,
    user_name text not null,
    key text,
    asked_lease_micros integer check (asked_lease_micros >= 0),
    asked_wait_micros integer check (asked_wait_micros >= 0),
    pool integer not null references pools (id),
    -- The requested token, if any.
    token_id blob references tokens (id),
    note text
) strict;

-- Numbers rise by one from use to use and the oldest go first, so that the first and the last number
-- give the count.
create table idempotency_keys (
    number integer primary key check (number > 0),
    user_id blob not null check (length(user_id) = 16),
    key text not null,
    lease_id blob not null unique references leases (id),
    asked_lease_micros integer check (asked_lease_micros >= 0),
    asked_wait_micros integer check (asked_wait_micros >= 0),
    -- Whether the request named the token.
    asked_token integer not null check (asked_token in (0, 1)),
    used_at integer not null,
    unique (key, user_id)
) strict;

-- API keys. Revoked ones stay, for the audit log. Pools and users are arrays of patterns. Secrets are an
-- array of objects, newest first: {"sha256": "9f86..", "until": null}. last_used_at is written once a minute
-- at most.
create table api_keys (
    id text primary key,
    name text not null,
    rights text not null,
    pools text not null check (json_valid(pools) and json_type(pools) = 'array'),
    users text not null check (json_valid(users) and json_type(users) = 'array'),
    secrets text not null check (json_valid(secrets) and json_type(secrets) = 'array'),
    created_at integer not null,
    created_by text,
    expires_at integer,
    revoked_at integer,
    max_requests_per_second integer,
    max_leases integer,
    last_used_at integer
) strict, without rowid;

create unique index api_keys_name on api_keys (name) where revoked_at is null;

-- Sessions of browsers, and codes for them. The hash is the SHA-256 of the secret.
create table sessions (
    hash blob primary key check (length(hash) = 32),
    key text not null references api_keys (id),
    kind text not null,
    started_at integer not null,
    expires_at integer not null
) strict, without rowid;

create index sessions_expires_at on sessions (expires_at);

-- What was done with which API key, apart from allocations, renewals and the holders' releases. The name is
-- that of the key at the time.
create table audit (
    number integer primary key,
    at integer not null,
    version integer not null,
    actor_id text,
    actor_name text,
    action text not null,
    pool text,
    subject text not null
) strict;

-- Index of a user's leases. Not an index of `leases`: with 1,000 users one made each grant write 12 kB
-- instead of 3, and cost a sixth of the speed. The writing thread copies leases here once thousands have
-- accumulated, sorted, which writes each page once for many of them; those above `indexed_fence` are not
-- here yet.
create table user_leases (
    user_id blob not null,
    fence integer not null,
    primary key (user_id, fence)
) strict, without rowid;

-- Index of a pool's leases, written later as user_leases is, so that the leases of a quiet pool are found
-- among millions of others. Blocks are of 16,384 fences. A pool with few leases in a block has a row for
-- each; one with many has a row with fence 0, and its leases are searched for among those of the block.
-- The block comes first, so that the table grows at its end, for any number of pools.
create table pool_leases (
    block integer not null,
    pool integer not null,
    fence integer not null,
    primary key (block, pool, fence)
) strict, without rowid;

-- Deleted leases whose rows in user_leases are yet to be removed in the same manner, in the order of
-- their deletion.
create table forgotten_leases (
    number integer primary key,
    user_id blob not null,
    fence integer not null
) strict;

-- Leases that were kept when the one after them on the same token was deleted, so that no chain
-- leads to them any more.
create table kept_leases (
    pool integer not null,
    position integer not null,
    fence integer not null,
    primary key (pool, position, fence)
) strict, without rowid;

-- The last lease of a pool in a block takes the pool's row with fence 0 with it. Leases are deleted from
-- the oldest on, so the newest one shows soonest that some are left.
create trigger lease_forgotten after delete on leases
begin
    insert into forgotten_leases (user_id, fence) values (old.user_id, old.fence);
    delete from pool_leases
    where
        block = old.fence >> 14
        and pool = old.pool
        and (
            fence = old.fence
            or fence = 0 and (
                select max(fence) from leases
                where
                    fence >= old.fence >> 14 << 14
                    and fence < (old.fence >> 14) + 1 << 14
                    and pool = old.pool
            ) is null
        );
    delete from kept_leases
    where
        pool = old.pool
        and position = (select position from tokens where id = old.token_id)
        and fence = old.fence;
    insert into kept_leases (pool, position, fence)
    select before.pool, (select position from tokens where id = old.token_id), before.fence
    from leases as before
    where before.fence = old.previous_fence;
end;

-- Every lease, with its end as of this moment by this machine's clock, which SQLite reads to the
-- millisecond. Shorter expressions for that time, and for the format of times, need sqlite3 3.42; these
-- also work in older releases.
create view token_history as
with seen as (
    select *, ended_at is null and expires_at <= cast(round((julianday('now') - 2440587.5) * 86400000) as integer) * 1000 as overdue
    from leases
), ended as (
    select
        *,
        iif(overdue, expires_at, ended_at) as ended,
        iif(overdue, 'expired', end_reason) as reason
    from seen
)
select
    lower(printf('%s-%s-%s-%s-%s', substr(hex(l.id), 1, 8), substr(hex(l.id), 9, 4), substr(hex(l.id), 13, 4), substr(hex(l.id), 17, 4), substr(hex(l.id), 21))) as id,
    lower(printf('%s-%s-%s-%s-%s', substr(hex(l.token_id), 1, 8), substr(hex(l.token_id), 9, 4), substr(hex(l.token_id), 13, 4), substr(hex(l.token_id), 17, 4), substr(hex(l.token_id), 21))) as token_id,
    iif(l.ended is null, 'active', 'over') as status,
    l.user_name,
    lower(printf('%s-%s-%s-%s-%s', substr(hex(l.user_id), 1, 8), substr(hex(l.user_id), 9, 4), substr(hex(l.user_id), 13, 4), substr(hex(l.user_id), 17, 4), substr(hex(l.user_id), 21))) as user_id,
    l.fence,
    l.previous_fence,
    strftime('%Y-%m-%dT%H:%M:%S', l.started_at / 1000000, 'unixepoch') || printf('.%06dZ', l.started_at % 1000000) as started_at,
    strftime('%Y-%m-%dT%H:%M:%S', l.expires_at / 1000000, 'unixepoch') || printf('.%06dZ', l.expires_at % 1000000) as expires_at,
    strftime('%Y-%m-%dT%H:%M:%S', l.ended / 1000000, 'unixepoch') || printf('.%06dZ', l.ended % 1000000) as ended_at,
    l.reason as end_reason,
    p.name as pool,
    t.name as token_name,
    l.note,
    l.granted_by,
    l.ended_by
from ended as l
left join tokens as t on t.id = l.token_id
left join pools as p on p.id = l.pool;

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
