-- Within an epoch the numbers have no gap; a new epoch skips a million, or more after a restore.
with ordered as (
    select
        version,
        epoch,
        lag(version) over (order by version) as version_before,
        lag(epoch) over (order by version) as epoch_before
    from token_manager.batches
)
select count(*) from ordered
where (epoch = epoch_before and version <> version_before + 1)
    or (epoch <> epoch_before and version < version_before + 1000001)
    or epoch - epoch_before not in (0, 1)
