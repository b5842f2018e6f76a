insert into token_manager.audit (at, version, actor_id, actor_name, action, pool, subject)
select $1::timestamptz, $2::bigint, act.*
from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) as act
