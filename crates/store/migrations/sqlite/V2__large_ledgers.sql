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

-- Existing leases are indexed from the beginning.
update ledger set indexed_fence = 0;

drop trigger lease_forgotten;

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

-- Retired tokens whose lease was running then: a start reads the few whose lease still runs, and no other
-- retired tokens. The others are removed whenever tokens are retired.
create table retiring_tokens (
    id blob primary key check (length(id) = 16)
) strict, without rowid;

insert into retiring_tokens (id)
select t.id
from tokens as t
join latest_leases as latest on latest.pool = t.pool and latest.position = t.position
join leases as l on l.fence = latest.fence
where t.retired_at is not null and l.ended_at is null;
