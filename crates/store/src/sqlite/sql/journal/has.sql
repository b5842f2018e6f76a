-- Null if the entry is missing and the journal no longer reaches back to version ?2.
select case
    when exists (select 1 from batches where version = ?2 and batch_id = ?1) then true
    when (select min(version) from batches) <= ?2 then false
end
