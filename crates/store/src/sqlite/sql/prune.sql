delete from batches
where pool = 'default' and version in (
    select old.version from batches as old
    join (select max(version) as version from batches where pool = 'default') as newest
    where
        old.pool = 'default'
        and old.version < newest.version
        and (old.at < ?1 or old.version < newest.version - ?2)
    order by old.version
    limit 500
)
