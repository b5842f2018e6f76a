select count(*) from leases as l
cross join ledger
where l.expires_at - l.started_at > ledger.longest_lease_micros
