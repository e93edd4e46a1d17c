-- Leases deliveries that are due; they are due again when the lease ends. KEYS: the queue.
-- ARGV: now (ms), the end of the lease (ms), the most to lease. Returns their ids.
local ids = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], ARGV[2], id) end
return ids
