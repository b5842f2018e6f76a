-- Removes pools from the index of the blocks from $1 up to $2 (exclusive) where they have no lease left.
delete from token_manager.pool_leases as entry
using (
    select block, pool from token_manager.pool_leases
    where block >= $1::bigint and block < $2::bigint
    except
    select fence >> 14, pool from token_manager.leases
    where fence >> 14 >= $1::bigint and fence >> 14 < $2::bigint
) as gone
where entry.block = gone.block and entry.pool = gone.pool
