select user_id, fence, number, 0 from forgotten_leases
where number > ?1
order by number
limit ?2
