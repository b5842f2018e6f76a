-- Null if the entry is missing and the journal no longer reaches back to version $2.
select case
    when exists (
        select from token_manager.batches
        where version = $2::bigint and batch_id = $1::uuid
    ) then true
    when (select min(version) from token_manager.batches) <= $2::bigint
    then false
end
