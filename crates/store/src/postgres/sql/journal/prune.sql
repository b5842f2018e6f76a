-- Keeps the newest entry and the $3 before it. A new epoch skips versions, so subtraction is not enough:
-- each row of `reach` covers a run without a gap. `cut` is where the count ends if the run is long enough,
-- and `first` the run's lowest entry from there on. If `first` is above `cut`, the remaining entries,
-- `first - cut` of them, are counted below the gap.
with recursive reach as (
    select newest.version - $3::bigint as cut, (
        select version from token_manager.batches
        where version >= newest.version - $3::bigint
        order by version
        limit 1
    ) as first
    from (
        select version from token_manager.batches
        order by version desc
        limit 1
    ) as newest
    union all
    select below.cut, (
        select version from token_manager.batches
        where version >= below.cut
        order by version
        limit 1
    )
    from (
        select (
            select version from token_manager.batches
            where version < reach.first
            order by version desc
            limit 1
        ) - (reach.first - reach.cut) + 1 as cut
        from reach
        where reach.first > reach.cut
    ) as below
    where below.cut is not null
)
-- Examines only the first few from version $1 on, and skips rows that another server is deleting.
delete from token_manager.batches
where version in (
    select old.version
    from token_manager.batches as old
    where old.version >= $1::bigint
    order by old.version
    limit $4::bigint
    for update skip locked
)
and version < (select max(version) from token_manager.batches)
and (at < $2::timestamptz or version < (select min(cut) from reach))
returning version
