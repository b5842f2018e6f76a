select count(*)
from token_manager.leases as lease
cross join token_manager.ledger
where extract(epoch from lease.expires_at - lease.started_at) * 1000000 > ledger.longest_lease
