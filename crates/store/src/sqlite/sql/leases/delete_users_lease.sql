delete from user_leases where pool = 'default' and user_id = ?1 and fence = ?2
