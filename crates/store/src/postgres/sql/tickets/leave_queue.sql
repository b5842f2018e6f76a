select token_manager.leave_queue($1::uuid[])
