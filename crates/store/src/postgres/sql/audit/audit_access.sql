select
    (
        select count(*) from token_manager.sessions as session
        left join token_manager.api_keys as key on key.id = session.key
        where key.id is null or key.revoked_at is not null
    ) + (
        select count(*) from token_manager.leases as lease
        where (
            lease.granted_by is not null
            and lease.granted_by not in (select id from token_manager.api_keys)
        ) or (
            lease.ended_by is not null
            and lease.ended_by not in (select id from token_manager.api_keys)
        )
    )
