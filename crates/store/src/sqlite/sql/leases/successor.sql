select id from leases where previous_fence = ?1 and previous_fence > 0 and token_id = ?2
