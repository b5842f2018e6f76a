-- Notes a token that is retired while its lease runs.
insert or ignore into retiring_tokens (id)
select t.id from tokens as t
join latest_leases as latest on latest.pool = t.pool and latest.position = t.position
join leases as l on l.fence = latest.fence
where t.id = ?1 and l.ended_at is null
