#!lua name=pool
-- A pool of tokens in Redis 7, as a function library; `scripts/bench --opponents` loads and measures it.
--
-- Redis runs a function without others in between, and writes its changes to the append-only file as
-- one MULTI ... EXEC, so an allocation is atomic, also in a crash. One function, called by name, as
-- https://redis.io/docs/latest/develop/programmability/functions-intro/ advises instead of EVAL.
--
-- `active` is a sorted set of the tokens with a lease, by fence: its first member is the oldest lease.
-- A list would be cheaper, but could not release a token from its middle without a scan.
-- The ended leases go to a stream. A hash for each lease with sorted sets by time, user and token would
-- find more, but needs several writes per lease where the stream needs one; so this searches by time
-- only (XRANGE), and by user or token only with a scan. TokenManager searches by all three.
--
-- Left out, in favour of Redis: ends of leases at their deadline (a sweeper would do it), idempotency
-- keys, a queue, events, a limit of the history, which is all in memory.

local function micros()
  local now = redis.call('TIME')
  return string.format('%d%06d', now[1], now[2])
end

-- Keys: fences, active, free, history. Arguments: lease id, user, length of the lease in seconds.
-- Tokens have keys of their own, `token:NUMBER`: right for one server, not for Redis Cluster.
local function allocate(keys, args)
  local now = micros()
  local fence = redis.call('INCR', keys[1])
  local token = redis.call('LPOP', keys[3])
  if not token then
    token = redis.call('ZRANGE', keys[2], 0, 0)[1]
    local old = redis.call('HMGET', 'token:' .. token, 'lease', 'user', 'fence', 'started', 'expires')
    redis.call('XADD', keys[4], '*', 'token', token, 'lease', old[1], 'user', old[2], 'fence', old[3],
      'started', old[4], 'expires', old[5], 'ended', now, 'reason', 'evicted')
  end
  local expires = string.format('%.0f', tonumber(now) + args[3] * 1e6)
  redis.call('ZADD', keys[2], fence, token)
  redis.call('HSET', 'token:' .. token, 'lease', args[1], 'user', args[2], 'fence', fence,
    'started', now, 'expires', expires)
  return { token, fence, expires }
end

redis.register_function('allocate', allocate)
