select
    (
        select count(*) from (
            select from token_manager.tokens where retired_at is null
            group by pool, name
            having count(*) > 1
        ) as token
    ) + (
        select count(*) from (
            select from token_manager.pools where deleted_at is null group by name having count(*) > 1
        ) as pool
    ) + (
        select count(*) from (
            select from token_manager.api_keys where revoked_at is null group by name having count(*) > 1
        ) as key
    )
