update pools set lease_micros = ?1 where name = 'default'
