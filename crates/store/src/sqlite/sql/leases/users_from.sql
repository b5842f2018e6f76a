select user_id, fence, fence from leases
where pool = 'default' and fence > ?1
order by fence
limit ?2
