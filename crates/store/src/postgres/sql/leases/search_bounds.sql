-- The fences of the newest lease before the position ($1, $2) and of the oldest one that started at $3
-- or later, and the newest block of the index of pools. Fences rise with time, so all leases of the search
-- are between the two.
select
    (
        select fence from token_manager.leases
        where (started_at, fence) < ($1::timestamptz, $2::bigint)
        order by started_at desc, fence desc
        limit 1
    ) as newest,
    (
        select fence from token_manager.leases
        where started_at >= $3::timestamptz
        order by started_at, fence
        limit 1
    ) as oldest,
    (select indexed_block from token_manager.ledger where id = 1) as indexed_block
