update pools set description = ?2, policy = ?3 where id = ?1
