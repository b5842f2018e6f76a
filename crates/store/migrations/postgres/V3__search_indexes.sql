-- What the history is searched by, besides a token's chain: all of it by time, and each user's. No
-- index may contain, or be conditional on, ended_at, end_reason, expires_at or granted_until: writing
-- a lease's end or its renewed deadline next to its beginning touches no index then, and that is most
-- of what makes a batch cheap. What a search asks of an end is looked up in the rows.
--
-- Nobody can write to leases while an index is built on them here. Whoever has many millions of them
-- builds both before, with `create index concurrently` and these names and columns.
create index if not exists leases_started_at_fence_idx
    on token_manager.leases (started_at, fence);
create index if not exists leases_user_id_started_at_fence_idx
    on token_manager.leases (user_id, started_at, fence);

do $$
begin
    if exists (
        select from pg_index
        where not indisvalid and indexrelid in (
            'token_manager.leases_started_at_fence_idx'::regclass,
            'token_manager.leases_user_id_started_at_fence_idx'::regclass
        )
    ) then
        raise exception 'an index on leases was begun beforehand and is not valid: drop it first';
    end if;
end
$$;
