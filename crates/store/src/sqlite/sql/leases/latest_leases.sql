-- The latest lease of every token of the pools that exist; of the retired ones, only leases without an
-- end.
select
    {lease: l}
from latest_leases as latest
cross join leases as l on l.fence = latest.fence
cross join tokens as t on t.id = l.token_id
cross join pools as p on p.id = t.pool
where p.deleted_at is null and (t.retired_at is null or l.ended_at is null)
