select
    (extract(epoch from now()) * 1000000)::bigint,
    (select (extract(epoch from max(started_at)) * 1000000)::bigint from token_usages)
