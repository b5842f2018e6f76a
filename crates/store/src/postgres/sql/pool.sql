select id, lease, max_lease, when_full, min_hold, max_per_user
from token_manager.pools
where name = 'default'
