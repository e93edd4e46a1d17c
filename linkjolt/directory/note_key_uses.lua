-- Notes when keys were last used; a process that writes late turns no clock back.
-- KEYS: the hash of minutes since 1970 by key number. ARGV: pairs of number and minute.
for at = 1, #ARGV, 2 do
  local noted = tonumber(redis.call('HGET', KEYS[1], ARGV[at]) or 0)
  if tonumber(ARGV[at + 1]) > noted then
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  end
end
return 'noted'
