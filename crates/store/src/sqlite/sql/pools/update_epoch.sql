update pools set epoch = ?1 where name = 'default' and epoch <> ?1
