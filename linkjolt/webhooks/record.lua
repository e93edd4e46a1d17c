-- Records an attempt, unless the delivery was resent meanwhile: then that remains queued.
-- KEYS: the delivery, the queue. ARGV: the delivery as it was claimed, as it is now, its id, when it
-- is due again (ms; 0: never). Returns 1 if it was recorded.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
if ARGV[4] == '0' then
  redis.call('ZREM', KEYS[2], ARGV[3])
else
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
end
return 1
