select user_id, fence, number from forgotten_leases
where number > ?1
order by number
limit ?2
