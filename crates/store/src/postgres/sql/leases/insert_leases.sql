-- An array that is shorter than the others is treated as if padded with nulls.
insert into token_manager.leases ({lease})
select lease.*
from unnest({lease arrays from 1}) as lease
