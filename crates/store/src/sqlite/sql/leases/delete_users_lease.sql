delete from user_leases where user_id = ?1 and fence = ?2
