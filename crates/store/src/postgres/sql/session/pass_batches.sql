-- Waits for the batch in flight, which holds the lock ($1, $2), and returns the time right after. Lock
-- and unlock are in one statement, so that no stall of the client keeps the lock; the parts are evaluated
-- in their order.
select
    set_config('lock_timeout', '1s', true),
    pg_advisory_lock_shared($1::integer, $2::integer),
    clock_timestamp(),
    pg_advisory_unlock_shared($1::integer, $2::integer)
