-- Cheap for any history: examines at most ?3 leases, which are adjacent in the table. For each
-- that is old enough, one lookup shows whether it is its token's latest, and one whether a key refers to
-- it.
delete from leases
where fence in (
    select l.fence from (
        select id, token_id, fence, ended_at from leases
        where fence > ?2
        order by fence
        limit ?3
    ) as l
    where
        l.ended_at < ?1
        and not exists (
            select 1 from tokens as t
            join latest_leases as latest on latest.pool = t.pool and latest.position = t.position
            where t.id = l.token_id and latest.fence = l.fence
        )
        and not exists (select 1 from idempotency_keys as k where k.lease_id = l.id)
)
returning fence
