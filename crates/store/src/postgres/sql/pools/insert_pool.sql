insert into token_manager.pools (name, epoch, size, policy, longest_lease)
values ('default', 1, $1::integer, $2::text::jsonb, $3::bigint)
returning id
