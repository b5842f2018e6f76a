-- Examines the first few keys from number $1 on, up to the first that was not used before $2. Deletes
-- those whose lease ended before $2, and gives the others the numbers after the newest key's. The ledger
-- is locked, so no other server assigns numbers. Rows are selected by their ctid, so that the planner
-- has no choice of indexes, under any statistics of the table. Returns how many keys were deleted, how
-- many were moved, and the first number that may be left, if it examined any.
with looked as materialized (
    select used.ctid as place, used.number, used.used_at, coalesce((
        select coalesce(lease.ended_at, lease.expires_at) < $2::timestamptz
        from token_manager.leases as lease
        where lease.id = used.lease_id
        limit 1
    ), true) as over
    from token_manager.idempotency_keys as used
    where used.number >= $1::bigint
    order by used.number
    limit 100
),
oldest as materialized (
    select place, over from looked
    where number < coalesce(
        (select min(number) from looked where used_at >= $2::timestamptz), 9223372036854775807
    )
),
deleted as (
    delete from token_manager.idempotency_keys
    where ctid = any (array(select place from oldest where over))
    returning number
),
newest as materialized (
    select number from token_manager.idempotency_keys
    order by number desc
    limit 1
),
moved as (
    update token_manager.idempotency_keys as used
    set number = newest.number + spared.rank
    from newest
    cross join unnest(array(select place from oldest where not over)) with ordinality
        as spared (place, rank)
    where used.ctid = spared.place
    returning used.number
)
select
    (select count(*) from deleted),
    (select count(*) from moved),
    coalesce(
        (select min(number) from looked where used_at >= $2::timestamptz),
        (select max(number) + 1 from looked)
    )
