($7::boolean is null
                or $7 = (one.ended_at is not null or one.expires_at <= $6::timestamptz))
            and ($8::text is null or $8::text = coalesce(
                one.end_reason, case when one.expires_at <= $6::timestamptz then 'expired' end
            ))
            and ($9::timestamptz is null or coalesce(one.ended_at, one.expires_at) > $9::timestamptz)
            and ($10::uuid is null or one.token_id = $10::uuid)
