-- Up to which fence leases are indexed by user, and how many fences were given since.
select
    indexed_fence,
    max(
        0,
        coalesce((select max(fence) from leases where pool = 'default'), 0) - indexed_fence
    )
from pools
where name = 'default'
