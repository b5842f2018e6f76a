-- The tokens of the pools that exist, each with its latest lease, if it has any; never the history. Of the
-- retired ones, only those whose latest lease has no end.
select
    t.id, t.pool, t.position, t.name, t.value, t.labels, t.taints, t.inserted_at, t.retired_at,
    {lease: l}
from pools as p indexed by pools_name
cross join tokens as t indexed by tokens_name on t.pool = p.id and t.retired_at is null
left join latest_leases as latest on latest.pool = t.pool and latest.position = t.position
left join leases as l on l.fence = latest.fence
where p.deleted_at is null
union all
select
    t.id, t.pool, t.position, t.name, t.value, t.labels, t.taints, t.inserted_at, t.retired_at,
    {lease: l}
from retiring_tokens as r
cross join tokens as t on t.id = r.id
cross join pools as p on p.id = t.pool
cross join latest_leases as latest on latest.pool = t.pool and latest.position = t.position
cross join leases as l on l.fence = latest.fence
where p.deleted_at is null and l.ended_at is null
