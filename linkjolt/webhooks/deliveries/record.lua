-- Records an attempt, unless the delivery was queued anew meanwhile: then that remains.
-- KEYS: as pending.lua, then the outcomes (a list of JSON, the newest first) and the log (a stream).
-- ARGV: the delivery's id, the end of its lease (ms), when it is due again (0: never), its JSON, how
-- many outcomes are kept, the most bytes of the log.
-- Returns how many entries of the log were dropped; -1 if nothing was recorded.
local outcomes, log = KEYS[6], KEYS[7]
local id, lease, due_at, json = unpack(ARGV)
local lane = due
local due_now = redis.call('ZSCORE', due, id)
if not due_now then
  lane = later
  due_now = redis.call('ZSCORE', later, id)
end
if due_now ~= lease then return -1 end
local former = redis.call('HSTRLEN', pending, id)

-- Removals come first, which a full server accepts: deliveries must end for it to have room again.
redis.call('ZREM', lane, id)
if due_at ~= '0' then
  redis.call('ZADD', lane, due_at, id)
  redis.call('HSET', pending, id, json)
  count_bytes(#json - former)
  return 0
end
redis.call('HDEL', pending, id)
redis.call('ZREM', order, id)
count_bytes(-former - OVERHEAD)
redis.call('LPUSH', outcomes, json)
redis.call('LTRIM', outcomes, 0, ARGV[5] - 1)
redis.call('XADD', log, '*', 'd', json)
return bound_log(log, redis.call('HINCRBY', backlog, 'log_bytes', #json), tonumber(ARGV[6]))
