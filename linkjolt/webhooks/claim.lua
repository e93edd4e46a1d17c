-- Takes deliveries that are due, for as long as a lease: then they are due again. KEYS: the queue.
-- ARGV: now (ms), until when the lease is (ms), how many at most. Answers their ids.
local ids = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], ARGV[2], id) end
return ids
