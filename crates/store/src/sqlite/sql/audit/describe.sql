select
    (select count(*) from leases),
    (select count(*) from batches),
    (select count(*) from tickets),
    (select count(*) from idempotency_keys)
