-- An array that is shorter than the others stands for one that continues with nulls.
insert into token_manager.leases (pool, {lease})
select $1::integer, lease.*
from unnest({lease arrays from 2}) as lease
