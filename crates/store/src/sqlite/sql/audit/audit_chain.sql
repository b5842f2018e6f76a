-- A lease follows the one that its token had before, unless that was deleted for its age.
with linked as (
    select
        previous_fence,
        lag(fence, 1, 0) over (partition by token_id order by previous_fence) as before
    from leases
)
select count(*) from linked
cross join ledger
where
    previous_fence < before
    or (previous_fence > before and previous_fence > ledger.forgotten_fence)
