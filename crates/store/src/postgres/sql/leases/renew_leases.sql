select token_manager.renew_leases($1::uuid[], $2::bigint[], $3::timestamptz[])
