-- A pool of tokens in etcd over its HTTP gateway, as wrk's script; `scripts/bench --opponents` runs it.
--
-- etcd has no script that finds and evicts the oldest lease. Clients could read the oldest key and try a
-- transaction on condition that it did not change, but then all clients try the same key, and all but one
-- fail. The cheapest correct work is one allocator that has the pool in memory, decides, and stores each
-- decision with one transaction: this script, with one thread. It takes the oldest lease that it does not
-- evict already, so at most 100 transactions are under way, and more connections would only wait.
-- Each transaction checks that the token still has the lease that the allocator evicts.
--
-- An allocation is two writes: an etcd lease with the time to live, because only that ends keys at a
-- deadline, and the transaction (token, history). The id of the etcd lease is chosen here, as the API
-- permits, so that no answer has to be parsed. The old etcd lease has no key any more and is left to end by
-- itself: revoking it would be a third write. Fences are given in the order of decisions.
--
-- Left out, in favour of etcd: the service that clients would talk to, and who takes over when it fails;
-- idempotency keys, a queue, search by user or token. The history is found by fence, so by time. It has to be
-- deleted by about 8 GiB, the largest size that etcd's documentation suggests:
-- https://etcd.io/docs/v3.4/dev-guide/limit/
-- Left out, against etcd: gRPC, which is faster than the gateway; Debian has no load generator for it.

local TTL = 3600

-- Keys are base64 in JSON. A prefix of 9 bytes and groups of 3 digits are encoded apart and joined.
local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local pairs_of = {}
for n = 0, 4095 do
  local first, second = math.floor(n / 64) + 1, n % 64 + 1
  pairs_of[n] = string.sub(ALPHABET, first, first) .. string.sub(ALPHABET, second, second)
end
local function base64(text)
  local out, padding = {}, (3 - #text % 3) % 3
  text = text .. string.rep("\0", padding)
  for i = 1, #text, 3 do
    local a, b, c = string.byte(text, i, i + 2)
    out[#out + 1] = pairs_of[a * 16 + math.floor(b / 16)]
    out[#out + 1] = pairs_of[b % 16 * 256 + c]
  end
  local encoded = table.concat(out)
  return string.sub(encoded, 1, #encoded - padding) .. string.rep("=", padding)
end

local digits = {}
for n = 0, 999 do digits[n] = base64(string.format("%03d", n)) end
local HISTORY = base64("history/.")
local function history_key(fence)
  local key = HISTORY
  for power = 3, 0, -1 do key = key .. digits[math.floor(fence / 1000 ^ power) % 1000] end
  return key
end

done_operations, failures = 0, 0
local pool, fence, lease, granted = {}, 0, 0, {}
local token_keys, numbers = {}, {}

-- Arguments: a file with the pool's state as lines "TOKEN FENCE LEASE STARTED", oldest first; the last id of an
-- etcd lease.
function init(arguments)
  lease = tonumber(arguments[2])
  for line in io.lines(arguments[1]) do
    local token, its_fence, its_lease, started = string.match(line, "(%d+) (%d+) (%d+) (%d+)")
    fence = tonumber(its_fence)
    pool[#pool + 1] = { token = token, fence = fence, lease = its_lease, started = started }
    token_keys[token] = base64("token/" .. token)
    numbers[token_keys[token]] = token
  end
end

local evicting = {}

local function transaction(new)
  local old = table.remove(pool, 1)
  local now = os.time()
  fence = fence + 1
  evicting[old.token] = { token = old.token, fence = fence, lease = new, started = now }
  local ended = string.format(
    '{"token":%s,"lease":%s,"fence":%d,"user":"Edivan","started":%s,"expires":%d,"ended":%d,"reason":"evicted",'
      .. '"by":%d}',
    old.token, old.lease, old.fence, old.started, old.started + TTL, now, fence)
  local value = string.format(
    '{"token":%s,"lease":%s,"fence":%d,"user":"Edivan","started":%d,"expires":%d}',
    old.token, new, fence, now, now + TTL)
  local key = token_keys[old.token]
  return wrk.format("POST", "/v3/kv/txn", nil, table.concat({
    '{"compare":[{"key":"', key, '","target":"LEASE","result":"EQUAL","lease":"', old.lease, '"}],"success":[',
    '{"request_put":{"key":"', key, '","value":"', base64(value), '","lease":"', new, '"}},',
    '{"request_put":{"key":"', history_key(old.fence), '","value":"', base64(ended), '"}},',
    -- Tells the allocator which transaction this answers.
    '{"request_range":{"key":"', key, '","keys_only":true}}]}' }))
end

function request()
  if #granted > 0 and #pool > 0 then
    return transaction(table.remove(granted, 1))
  end
  lease = lease + 1
  return wrk.format("POST", "/v3/lease/grant", nil, '{"ID":"' .. lease .. '","TTL":"' .. TTL .. '"}')
end

function response(status, headers, body)
  local new = status == 200 and string.match(body, '"ID":"(%d+)"')
  if new then
    granted[#granted + 1] = new
    return
  end
  local key = status == 200 and string.find(body, '"succeeded":true', 1, true) and string.match(body, '"key":"([^"]+)"')
  if not key then
    if failures == 0 then print(status, body) end
    failures = failures + 1
    return
  end
  local token = numbers[key]
  local begun = evicting[token]
  evicting[token] = nil
  done_operations = done_operations + 1
  local place = #pool + 1
  while place > 1 and pool[place - 1].fence > begun.fence do place = place - 1 end
  table.insert(pool, place, begun)
end

local threads = {}
function setup(thread) threads[#threads + 1] = thread end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('result {"operations": %d, "seconds": %.6f, "errors": %d}\n',
    threads[1]:get("done_operations"), summary.duration / 1e6,
    threads[1]:get("failures") + errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
