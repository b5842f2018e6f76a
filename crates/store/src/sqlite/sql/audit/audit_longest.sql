select count(*) from leases as l
join pools as p on p.name = l.pool
where l.expires_at - l.started_at > p.longest_lease_micros
