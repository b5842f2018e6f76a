update leases set granted_until = coalesce(granted_until, expires_at), expires_at = ?3
where fence = ?2 and id = ?1 and ended_at is null
