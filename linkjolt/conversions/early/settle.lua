-- Takes an adjustment out of those that wait for an order; notes that it failed, if it did.
-- KEYS: the order's list, the shard's waiting orders, its counts, the order's failures. ARGV: the
-- order's digest, the entry as it was read, the failure ('': none), how long to keep it (ms), the
-- most to keep. Returns 1, or 0 if the entry was gone: then nothing is changed.
if redis.call('LREM', KEYS[1], 1, ARGV[2]) == 0 then return 0 end
local scope = string.match(ARGV[2], '^[^\n]*\n([^\n]*)')
if redis.call('HINCRBY', KEYS[3], scope, -1) <= 0 then redis.call('HDEL', KEYS[3], scope) end
local first = redis.call('LINDEX', KEYS[1], 0)
if first then
  redis.call('ZADD', KEYS[2], string.match(first, '^%d+'), ARGV[1])
else
  redis.call('ZREM', KEYS[2], ARGV[1])
end
if ARGV[3] ~= '' then
  redis.call('RPUSH', KEYS[4], ARGV[3])
  redis.call('LTRIM', KEYS[4], -tonumber(ARGV[5]), -1)
  redis.call('PEXPIRE', KEYS[4], ARGV[4])
end
return 1
