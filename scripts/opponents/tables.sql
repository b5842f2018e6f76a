-- Tables of a pool that is written by hand in PostgreSQL, for both variants of its function `allocate`.

-- The lease of each token is in the token's row. The rows change all the time and are few: free space on
-- their pages lets PostgreSQL update them in place (heap-only tuples), and no column of the lease has an
-- index, which would prevent that. Reading 100 rows is cheaper than such an index.
-- https://www.postgresql.org/docs/15/storage-hot.html
create table tokens (
    id uuid primary key default gen_random_uuid(),
    lease_id uuid,
    user_name text,
    fence bigint not null default 0,
    started_at timestamptz,
    expires_at timestamptz
) with (fillfactor = 10);

-- Ended leases, found by fence and by time of their end. TokenManager also finds them by id, user and
-- token; each of these would be one more index to write.
create table history (
    fence bigint primary key,
    lease_id uuid not null,
    token_id uuid not null,
    user_name text not null,
    started_at timestamptz not null,
    expires_at timestamptz not null,
    ended_at timestamptz not null,
    end_reason text not null
);
create index on history (ended_at);

create sequence fences;

insert into tokens select from generate_series(1, 100);
