insert into token_manager.pools (
    name, epoch, size, lease, max_lease, when_full, min_hold, max_per_user, longest_lease
)
values (
    'default', 1, $1::integer, $2::bigint, $3::bigint, $4::text, $5::bigint, $6::bigint,
    greatest($2::bigint, $3::bigint)
)
returning id
