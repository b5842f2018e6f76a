-- Null if the entry is missing and the journal no longer reaches back to version $3.
select case
    when exists (
        select from token_manager.batches
        where pool = $1::integer and version = $3::bigint and batch_id = $2::uuid
    ) then true
    when (select min(version) from token_manager.batches where pool = $1::integer) <= $3::bigint
    then false
end
