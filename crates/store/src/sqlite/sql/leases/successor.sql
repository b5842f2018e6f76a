select id from leases where previous_fence = ?1 and token_id = ?2 and pool = 'default'
