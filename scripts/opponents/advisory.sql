-- Evicts exactly the oldest lease: all transactions wait for one advisory lock.
--
-- The lock is held until the commit is on disk. Released any sooner, the next transaction would not see
-- this one's rows and evict the same lease again. So no two commits share an fsync here, and
-- `commit_delay` can't help. https://www.postgresql.org/docs/15/explicit-locking.html#ADVISORY-LOCKS
--
-- The lock is a statement of its own, because the next statement needs a snapshot from after it. Both
-- are in one function, which saves a round trip under the lock.
create function allocate(for_user text)
returns table (token_id uuid, lease_id uuid, fence bigint, expires_at timestamptz)
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1);
    return query
    with oldest as materialized (
        select * from tokens order by tokens.fence limit 1
    ),
    ended as (
        insert into history
        select
            oldest.fence, oldest.lease_id, oldest.id, oldest.user_name, oldest.started_at,
            oldest.expires_at, clock_timestamp(), 'evicted'
        from oldest
        where oldest.lease_id is not null
    )
    update tokens
    set
        lease_id = gen_random_uuid(),
        user_name = for_user,
        fence = nextval('fences'),
        started_at = clock_timestamp(),
        expires_at = clock_timestamp() + interval '1 hour'
    from oldest
    where tokens.id = oldest.id
    returning tokens.id, tokens.lease_id, tokens.fence, tokens.expires_at;
end
$$;
