-- Keeps the newest entry and the ?2 before it. A new epoch skips versions, so subtraction is not enough:
-- each row of `reach` covers a run without a gap. `cut` is where the count ends if the run is long enough,
-- and `first` the run's lowest entry from there on. If `first` is above `cut`, the remaining entries,
-- `first - cut` of them, are counted below the gap.
with recursive reach (cut, first) as (
    select newest.version - ?2, (
        select version from batches
        where version >= newest.version - ?2
        order by version
        limit 1
    )
    from (select max(version) as version from batches) as newest
    union all
    select below.version - (reach.first - reach.cut) + 1, (
        select version from batches
        where version >= below.version - (reach.first - reach.cut) + 1
        order by version
        limit 1
    )
    from reach
    cross join batches as below
    where
        reach.first > reach.cut
        and below.version = (
            select max(version) from batches where version < reach.first
        )
)
delete from batches
where version in (
    select version from batches
    where
        version < (select max(version) from batches)
        and (at < ?1 or version < (select min(cut) from reach))
    order by version
    limit 128
)
