-- The token's newest lease below ?2, down to ?3: examines each lease in between.
select fence from leases
where token_id = ?1 and fence < ?2 and fence >= ?3
order by fence desc
limit 1
