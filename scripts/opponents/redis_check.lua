-- Counts the history in KEYS[1] from after the entry ARGV[1] and fence ARGV[2] on, ARGV[3] entries at
-- most: how many, how many with a fence that is not above the one before, the last entry and fence.
local last, fence, wrong = ARGV[1], tonumber(ARGV[2]), 0
local entries = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', ARGV[3])
for _, entry in ipairs(entries) do
  local fields = entry[2]
  local this = tonumber(fields[8])
  if this <= fence then wrong = wrong + 1 end
  last, fence = entry[1], this
end
return { #entries, wrong, last, tostring(fence) }
