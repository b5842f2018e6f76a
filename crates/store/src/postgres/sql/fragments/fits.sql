($3::boolean is null
                or $3 = (one.ended_at is not null or one.expires_at <= $2::timestamptz))
            and ($4::text is null or $4::text = coalesce(
                one.end_reason, case when one.expires_at <= $2::timestamptz then 'expired' end
            ))
            and ($5::timestamptz is null or coalesce(one.ended_at, one.expires_at) > $5::timestamptz)
