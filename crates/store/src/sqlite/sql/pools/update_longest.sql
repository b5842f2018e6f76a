update pools
set longest_lease_micros = max(
    longest_lease_micros, coalesce((select max(expires_at - started_at) from leases), 0)
)
where name = 'default'
