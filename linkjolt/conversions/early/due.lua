-- Finds the waiting orders that are stored now or have expired, in a part of them, the newest first.
-- KEYS: the shard's waiting orders, its counts, its turn, the key of a reservation without its
-- digest (all reservations of a shard are in its slot). ARGV: now (ms), the number of orders before
-- the part, its length, for how long nobody else looks at the first part (ms; 0: others may).
-- Replies with the number of waiting adjustments and of orders (0 where it is another's turn), then
-- the digests of those found, perhaps one of them twice.
local orders = redis.call('ZCARD', KEYS[1])
if orders == 0 then return {0, 0} end
local waiting = 0
for _, count in ipairs(redis.call('HVALS', KEYS[2])) do waiting = waiting + tonumber(count) end
local before, length = tonumber(ARGV[2]), tonumber(ARGV[3])
if before == 0 and ARGV[4] ~= '0' and not redis.call('SET', KEYS[3], '', 'NX', 'PX', ARGV[4]) then
  return {waiting, 0}
end
local reply = {waiting, orders}
if before == 0 then
  local expired = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, length)
  for _, digest in ipairs(expired) do reply[#reply + 1] = digest end
end
local part = redis.call('ZRANGE', KEYS[1], before, before + length - 1, 'REV')
for first = 1, #part, 100 do
  -- One command for many, of which hardly ever one is stored: a command each takes four times as
  -- long.
  local keys = {}
  for index = first, math.min(first + 99, #part) do keys[#keys + 1] = KEYS[4] .. part[index] end
  if redis.call('EXISTS', unpack(keys)) > 0 then
    for index, key in ipairs(keys) do
      if redis.call('EXISTS', key) == 1 then reply[#reply + 1] = part[first + index - 1] end
    end
  end
end
return reply
