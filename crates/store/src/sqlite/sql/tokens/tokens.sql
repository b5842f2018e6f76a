-- Tokens of the pools that exist; of the retired ones, those whose latest lease has no end.
select t.id, t.pool, t.position, t.name, t.value, t.labels, t.taints, t.inserted_at, t.retired_at
from tokens as t
cross join pools as p on p.id = t.pool
where
    p.deleted_at is null
    and (
        t.retired_at is null
        or exists (
            select 1 from latest_leases as latest
            cross join leases as l on l.fence = latest.fence
            where latest.pool = t.pool and latest.position = t.position and l.ended_at is null
        )
    )
