-- Queues deliveries again whatever their state, new ones while there is room. KEYS: as pending.lua.
-- ARGV: '1' for the later lane, the most deliveries and the most bytes that may be pending, then of
-- each: its id, JSON, when it is due, the time of its event. Returns how many are queued.
local lane, other = due, later
if ARGV[1] == '1' then lane, other = later, due end
local most, most_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local count, before = redis.call('HLEN', pending), pending_bytes()
local bytes, queued = before, 0
for i = 4, #ARGV, 4 do
  local id, json, due_at, event_at = unpack(ARGV, i, i + 3)
  local former = redis.call('HSTRLEN', pending, id)
  if former > 0 then
    bytes = bytes - former - OVERHEAD
    redis.call('ZREM', other, id)
  elseif count < most and bytes < most_bytes then
    count = count + 1
  else
    id = nil
  end
  if id then
    bytes = bytes + add(id, json, lane, due_at, event_at)
    queued = queued + 1
  end
end
count_bytes(bytes - before)
return queued
