-- `reach` leads from the newest entry down to the first one that is among the newest ?2 and itself: from
-- `first` on no version is missing, and the rest of that number is counted below the gap of a new epoch.
with recursive reach (cut, first) as (
    select newest.version - ?2, (
        select version from batches
        where pool = 'default' and version >= newest.version - ?2
        order by version
        limit 1
    )
    from (select max(version) as version from batches where pool = 'default') as newest
    union all
    select below.version - (reach.first - reach.cut) + 1, (
        select version from batches
        where pool = 'default' and version >= below.version - (reach.first - reach.cut) + 1
        order by version
        limit 1
    )
    from reach
    cross join batches as below
    where
        reach.first > reach.cut
        and below.pool = 'default'
        and below.version = (
            select max(version) from batches where pool = 'default' and version < reach.first
        )
)
delete from batches
where pool = 'default' and version in (
    select version from batches
    where
        pool = 'default'
        and version < (select max(version) from batches where pool = 'default')
        and (at < ?1 or version < (select min(cut) from reach))
    order by version
    limit 128
)
