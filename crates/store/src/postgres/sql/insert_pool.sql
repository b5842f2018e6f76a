insert into token_manager.pools (name, size, lease, epoch)
values ('default', $1::integer, $2::bigint, 1)
returning id
