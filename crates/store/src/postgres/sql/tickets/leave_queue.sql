select token_manager.leave_queue($1::integer, $2::uuid[])
