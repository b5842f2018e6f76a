delete from token_manager.sessions
where hash in (
    select hash from token_manager.sessions
    where expires_at <= $1::timestamptz
    order by expires_at
    limit 500
    for update skip locked
)
