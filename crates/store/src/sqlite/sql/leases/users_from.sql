select user_id, fence, fence from leases
where fence > ?1
order by fence
limit ?2
