-- The newest lease before ?2, down to ?3, that a later one of the token names as its previous one. One
-- index has both columns, so that leases of other tokens are skipped quickly.
select previous_fence from leases
where token_id = ?1 and previous_fence < ?2 and previous_fence >= max(1, ?3)
order by previous_fence desc
limit 1
