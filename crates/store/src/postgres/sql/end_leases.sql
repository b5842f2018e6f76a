select token_manager.end_leases($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[])
