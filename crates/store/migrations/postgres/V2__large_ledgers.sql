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

alter table token_manager.ledger add column indexed_block bigint not null default -1;

-- Retired tokens whose lease was running then: a start reads the few whose lease still runs, and no other
-- retired tokens. The others are removed whenever tokens are retired.
create table token_manager.retiring_tokens (
    id uuid primary key
);

insert into token_manager.retiring_tokens (id)
select token.id
from token_manager.tokens as token
cross join lateral (
    select ended_at from token_manager.leases as latest
    where latest.token_id = token.id
    order by latest.previous_fence desc
    limit 1
) as lease
where token.retired_at is not null and lease.ended_at is null;

-- So that no plan reads retired tokens to find the others, which have an index of their own.
drop index token_manager.tokens_by_name;

create index tokens_retired on token_manager.tokens (pool, name, position) where retired_at is not null;
