update tokens set name = ?2, value = ?3, labels = ?4, taints = ?5 where id = ?1
