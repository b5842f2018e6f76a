update pools set indexed_fence = ?1 where name = 'default'
