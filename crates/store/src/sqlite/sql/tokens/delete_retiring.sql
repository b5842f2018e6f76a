-- Removes the tokens whose lease has ended.
delete from retiring_tokens
where not exists (
    select 1 from tokens as t
    join latest_leases as latest on latest.pool = t.pool and latest.position = t.position
    join leases as l on l.fence = latest.fence
    where t.id = retiring_tokens.id and l.ended_at is null
)
