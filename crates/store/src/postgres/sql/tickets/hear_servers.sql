-- Also forgets servers that have long been silent: their tickets are gone.
with gone as (
    delete from token_manager.servers
    where heard_at < (select max(at) from unnest($2::timestamptz[]) as at) - interval '1 hour'
        and id <> all ($1::uuid[])
)
insert into token_manager.servers (id, heard_at)
select heard.server, max(heard.at)
from unnest($1::uuid[], $2::timestamptz[]) as heard (server, at)
group by heard.server
on conflict (id) do update set heard_at = excluded.heard_at
