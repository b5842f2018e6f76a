select token_manager.move_tickets($1::integer, $2::uuid[], $3::uuid[], $4::timestamptz[])
