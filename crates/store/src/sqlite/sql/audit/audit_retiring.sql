select count(*) from tokens as t
join latest_leases as latest on latest.pool = t.pool and latest.position = t.position
join leases as l on l.fence = latest.fence
where
    t.retired_at is not null
    and l.ended_at is null
    and t.id not in (select id from retiring_tokens)
