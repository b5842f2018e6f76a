-- The rest of the policy. A lease may be renewed up to `max_lease_micros` after its start, or up to
-- `lease_micros` where that is null. `longest_lease_micros` is the longest that any lease can ever
-- have run: under any policy that the pool had, or in what was imported.
alter table pools add column max_lease_micros integer check (max_lease_micros > 0);
alter table pools add column when_full text not null default 'evict-oldest'
    check (when_full in ('evict-oldest', 'reject', 'wait'));
alter table pools add column min_hold_micros integer not null default 0 check (min_hold_micros >= 0);
alter table pools add column max_per_user integer check (max_per_user > 0);
alter table pools add column longest_lease_micros integer not null default 0;
update pools
set longest_lease_micros = max(
    lease_micros, coalesce((select max(expires_at - started_at) from leases), 0)
);

-- The deadline that a lease was granted with, once it was renewed; `expires_at` until then.
alter table leases add column granted_until integer
    check (started_at <= granted_until and granted_until <= expires_at);

-- Those who wait, first come first served.
create table tickets (
    pool text not null references pools (name),
    number integer not null check (number > 0),
    lease_id blob not null unique check (length(lease_id) = 16),
    server blob not null check (length(server) = 16),
    heard_at integer not null,
    since integer not null,
    until integer not null,
    user_name text not null,
    key text,
    asked_lease_micros integer check (asked_lease_micros >= 0),
    asked_wait_micros integer check (asked_wait_micros >= 0),
    primary key (pool, number)
) strict, without rowid;

-- Numbers rise by one from use to use and the oldest go first, so that the first and the last number
-- tell how many there are.
create table idempotency_keys (
    pool text not null references pools (name),
    number integer not null check (number > 0),
    user_id blob not null check (length(user_id) = 16),
    key text not null,
    lease_id blob not null unique references leases (id),
    asked_lease_micros integer check (asked_lease_micros >= 0),
    asked_wait_micros integer check (asked_wait_micros >= 0),
    used_at integer not null,
    primary key (pool, number),
    unique (pool, key, user_id)
) strict, without rowid;

-- The way to a user's leases. No index of `leases`: with 1,000 users one made each grant write 12 kB
-- instead of 3, and cost a sixth of the speed. The thread that writes copies leases here when
-- thousands have come together, sorted, which writes each page once for many of them; those above
-- `indexed_fence` are not here yet.
create table user_leases (
    pool text not null,
    user_id blob not null,
    fence integer not null,
    primary key (pool, user_id, fence)
) strict, without rowid;

alter table pools add column indexed_fence integer not null default 0;

-- What is to be taken from there in the same manner, in the order in which it was deleted.
create table forgotten_leases (
    number integer primary key,
    pool text not null,
    user_id blob not null,
    fence integer not null
) strict;

-- The newest lease that was ever deleted for its age: above it, no lease lacks the one before it.
alter table pools add column forgotten_fence integer not null default 0;

-- Leases that were kept when the one after them on the same token was deleted, so that no chain
-- leads to them any more.
create table kept_leases (
    pool text not null,
    position integer not null,
    fence integer not null,
    primary key (pool, position, fence)
) strict, without rowid;

create trigger lease_forgotten after delete on leases
begin
    insert into forgotten_leases (pool, user_id, fence) values (old.pool, old.user_id, old.fence);
    delete from kept_leases
    where
        pool = old.pool
        and position = (select position from tokens where id = old.token_id)
        and fence = old.fence;
    insert into kept_leases (pool, position, fence)
    select before.pool, (select position from tokens where id = old.token_id), before.fence
    from leases as before
    where before.pool = old.pool and before.fence = old.previous_fence;
end;
