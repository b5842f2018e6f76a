($6::boolean is null
                or $6 = (one.ended_at is not null or one.expires_at <= $5::timestamptz))
            and ($7::text is null or $7::text = coalesce(
                one.end_reason, case when one.expires_at <= $5::timestamptz then 'expired' end
            ))
            and ($8::timestamptz is null or coalesce(one.ended_at, one.expires_at) > $8::timestamptz)
            and ($9::uuid is null or one.token_id = $9::uuid)
            and ($10::integer is null or one.pool = $10::integer)
