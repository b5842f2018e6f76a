insert into token_manager.tokens (pool, position, id, value, inserted_at)
select $1::integer, $2::integer + token.place - 1, token.id, token.value, token.inserted_at
from unnest($3::uuid[], $4::uuid[], $5::timestamptz[])
    with ordinality as token (id, value, inserted_at, place)
