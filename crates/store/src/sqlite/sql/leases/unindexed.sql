-- Newest fence up to which leases are indexed by user, number of fences granted since, and how many
-- leases were deleted that may still be in the index.
select
    indexed_fence,
    max(0, coalesce((select max(fence) from leases), 0) - indexed_fence),
    coalesce(
        (select max(number) from forgotten_leases) - (select min(number) from forgotten_leases) + 1,
        0
    )
from ledger
