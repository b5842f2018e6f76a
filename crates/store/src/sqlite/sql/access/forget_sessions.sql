delete from sessions
where hash in (
    select hash from sessions where expires_at <= ?1 order by expires_at limit 128
)
