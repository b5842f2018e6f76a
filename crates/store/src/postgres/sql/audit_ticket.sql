select count(*) from (
    select from token_manager.tickets group by pool, number having count(*) > 1
) as twice
