select (
    select count(*) from sessions as s
    left join api_keys as k on k.id = s.key
    where k.id is null or k.revoked_at is not null
) + (
    select count(*) from leases as l
    where
        l.granted_by is not null and l.granted_by not in (select id from api_keys)
        or l.ended_by is not null and l.ended_by not in (select id from api_keys)
)
