-- Evicts an old lease, not exactly the oldest: each transaction locks the oldest token that no other
-- transaction has locked. Transactions run and commit side by side, and share fsyncs.
--
-- PostgreSQL's own words: skipping locked rows "provides an inconsistent view of the data", meant for
-- "multiple consumers accessing a queue-like table".
-- https://www.postgresql.org/docs/15/sql-select.html#SQL-FOR-UPDATE-SHARE
-- Three consequences here. A lease that another transaction evicts at the time is passed over, even if that
-- transaction then fails. A row that changed between snapshot and lock is taken with its new lease, which
-- then ends microseconds old. And with more transactions than tokens all rows can be locked; such a
-- transaction waits for any one token, and ends whatever lease that then has.
create function allocate(for_user text)
returns table (token_id uuid, lease_id uuid, fence bigint, expires_at timestamptz)
language plpgsql as $$
declare
    old tokens;
begin
    select * into old from tokens order by tokens.fence for update skip locked limit 1;
    if not found then
        -- Not the oldest one, which all the others would wait for as well.
        select * into old from tokens order by random() limit 1;
        select * into old from tokens where tokens.id = old.id for update;
    end if;
    return query
    with ended as (
        insert into history
        select
            old.fence, old.lease_id, old.id, old.user_name, old.started_at,
            old.expires_at, clock_timestamp(), 'evicted'
        where old.lease_id is not null
    )
    update tokens
    set
        lease_id = gen_random_uuid(),
        user_name = for_user,
        fence = nextval('fences'),
        started_at = clock_timestamp(),
        expires_at = clock_timestamp() + interval '1 hour'
    where tokens.id = old.id
    returning tokens.id, tokens.lease_id, tokens.fence, tokens.expires_at;
end
$$;
