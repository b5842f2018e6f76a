select number, at, version, actor_id, actor_name, action, pool, subject
from token_manager.audit
where number > $1::bigint
    and ($2::text is null or $2::text in (actor_id, actor_name))
    and ($3::text is null or action = $3::text)
    and ($4::text is null or pool = $4::text)
    and ($5::timestamptz is null or at >= $5::timestamptz)
    and ($6::timestamptz is null or at < $6::timestamptz)
order by number asc
limit $7::bigint
