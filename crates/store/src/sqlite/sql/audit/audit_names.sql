select (
    select count(*) from (
        select 1 from tokens where retired_at is null group by pool, name having count(*) > 1
    )
) + (
    select count(*) from (
        select 1 from pools where deleted_at is null group by name having count(*) > 1
    )
) + (
    select count(*) from (
        select 1 from api_keys where revoked_at is null group by name having count(*) > 1
    )
)
