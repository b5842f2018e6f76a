select count(*) from (
    select from token_manager.leases group by fence having count(*) > 1
) as twice
