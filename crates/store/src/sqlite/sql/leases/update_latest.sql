-- Points the tokens to their latest leases, of those from fence ?1 on.
insert into latest_leases (pool, position, fence)
select t.pool, t.position, l.fence
from leases as l
cross join tokens as t on t.id = l.token_id
where l.fence >= ?1
order by l.fence
on conflict (pool, position) do update set fence = excluded.fence
