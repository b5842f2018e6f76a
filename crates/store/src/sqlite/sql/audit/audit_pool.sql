select count(*) from leases as l
join tokens as t on t.id = l.token_id
where l.pool <> t.pool
