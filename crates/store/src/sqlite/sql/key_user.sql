select l.user_id from idempotency_keys as k
cross join leases as l on l.id = k.lease_id
where k.pool = 'default' and k.number = ?1
