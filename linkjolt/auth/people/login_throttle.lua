-- Counts one more try under each key, or refuses it where one of them has had its tries.
-- KEYS: the counters. ARGV: the seconds after which a counter begins anew, then the tries of each.
-- Returns 0, or the seconds until the next try.
for at, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or 0) >= tonumber(ARGV[at + 1]) then
    return math.max(1, redis.call('TTL', key))
  end
end
for _, key in ipairs(KEYS) do
  if redis.call('INCR', key) == 1 then
    redis.call('EXPIRE', key, ARGV[1])
  end
end
return 0
