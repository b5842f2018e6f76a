-- An array that is shorter than the others is treated as if padded with nulls.
insert into token_manager.leases (pool, {lease})
select $1::integer, lease.*
from unnest({lease arrays from 2}) as lease
