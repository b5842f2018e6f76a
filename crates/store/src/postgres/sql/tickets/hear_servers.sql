-- Also forgets servers that have long been silent: their tickets are gone.
with gone as (
    delete from token_manager.servers
    where pool = $1::integer
        and heard_at < (select max(at) from unnest($3::timestamptz[]) as at) - interval '1 hour'
        and id <> all ($2::uuid[])
)
insert into token_manager.servers (pool, id, heard_at)
select $1::integer, heard.server, max(heard.at)
from unnest($2::uuid[], $3::timestamptz[]) as heard (server, at)
group by heard.server
on conflict (pool, id) do update set heard_at = excluded.heard_at
