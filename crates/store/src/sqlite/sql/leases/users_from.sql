select user_id, fence, fence, pool from leases
where fence > ?1
order by fence
limit ?2
