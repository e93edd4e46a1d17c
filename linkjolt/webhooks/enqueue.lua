-- Puts a delivery in its endpoint's queue, once. KEYS: the delivery, the queue, the log.
-- ARGV: the delivery, its id, when it is due (ms), the time of its event (ms), its time to live
-- (seconds), the time before which the log is trimmed (ms). Returns 1 if it is new.
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[5]) then return 0 end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. ARGV[6])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])
return 1
