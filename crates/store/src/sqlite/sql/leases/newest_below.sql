-- The newest lease with a fence below ?1.
select fence from leases where fence < ?1 order by fence desc limit 1
