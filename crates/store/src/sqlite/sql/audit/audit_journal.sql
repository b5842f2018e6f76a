with ordered as (
    select
        version,
        epoch,
        lag(version) over (order by version) as version_before,
        lag(epoch) over (order by version) as epoch_before
    from batches
)
select count(*) from ordered where epoch = epoch_before and version <> version_before + 1
