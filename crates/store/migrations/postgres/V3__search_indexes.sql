-- What the history is searched by, besides a token's chain: all of it by time, and each user's leases by
-- fence, which rises with time. No index may contain, or be conditional on, ended_at, end_reason,
-- expires_at or granted_until: writing a lease's end or its renewed deadline next to its beginning
-- touches no index then, and that is most of what makes a batch cheap. What a search asks of an end is
-- looked up in the rows.
--
-- Users' leases are in groups of 16,384 fences, so that new entries go to a few hundred kilobytes which
-- stay in the processor's cache. With the users first, each went to a page of its own: for 1,000 users
-- both indexes together then took half as long again as writing a lease otherwise takes, and a quarter
-- as they are.
--
-- Nobody can write to leases while an index is built on them here. Whoever has many millions of them
-- builds both before, with `create index concurrently` and these names and columns.
create index if not exists leases_started_at_fence_idx
    on token_manager.leases (started_at, fence);
create index if not exists leases_user_id_idx
    on token_manager.leases ((fence >> 14), user_id, fence);

do $$
begin
    if exists (
        select from pg_index
        where not indisvalid and indexrelid in (
            'token_manager.leases_started_at_fence_idx'::regclass,
            'token_manager.leases_user_id_idx'::regclass
        )
    ) then
        raise exception 'an index on leases was begun beforehand and is not valid: drop it first';
    end if;
end
$$;
