select token_manager.move_tickets($1::uuid[], $2::uuid[], $3::timestamptz[])
