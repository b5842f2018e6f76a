select exists (
    select from token_manager.batches where pool = $1::integer and batch_id = $2::uuid
)
