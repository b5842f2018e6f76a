update leases set ended_at = ?3, end_reason = ?4
where id = ?1 and fence = ?2 and ended_at is null
