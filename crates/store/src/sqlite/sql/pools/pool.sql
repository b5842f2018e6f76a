select size, policy from pools where name = 'default'
