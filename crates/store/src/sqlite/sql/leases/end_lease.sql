update leases set ended_at = ?3, end_reason = ?4, ended_by = ?5
where fence = ?2 and id = ?1 and ended_at is null
