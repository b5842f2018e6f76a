insert into leases (
    id, pool, token_id, user_id, user_name, fence, previous_fence, started_at,
    expires_at, ended_at, end_reason, granted_until
)
values (?1, 'default', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
