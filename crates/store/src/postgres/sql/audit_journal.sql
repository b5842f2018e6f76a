-- Within an epoch the numbers have no gap; a new epoch skips a million.
with ordered as (
    select
        version,
        epoch,
        lag(version) over (partition by pool order by version) as version_before,
        lag(epoch) over (partition by pool order by version) as epoch_before
    from token_manager.batches
)
select count(*) from ordered
where version <> version_before + case epoch - epoch_before when 0 then 1 else 1000001 end
    or epoch - epoch_before not in (0, 1)
