-- The newest lease before ?2, down to ?3, that a later one of the token says it follows. Both columns
-- stand in one index, so that leases of other tokens are passed over quickly.
select previous_fence from leases
where token_id = ?1 and previous_fence < ?2 and previous_fence >= max(1, ?3)
order by previous_fence desc
limit 1
