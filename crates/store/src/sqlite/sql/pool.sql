select size, lease_micros from pools where name = 'default'
