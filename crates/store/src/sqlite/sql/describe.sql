select (select count(*) from leases), (select count(*) from batches)
