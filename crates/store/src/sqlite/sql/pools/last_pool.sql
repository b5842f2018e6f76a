select max(id) from pools
