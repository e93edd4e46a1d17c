-- Queues the next deliveries of a range, and moves the range's start behind them: once, however many
-- do it. KEYS: as pending.lua. ARGV: the range's name, its start as it was read, its start from now
-- on, '1' for the later lane, '1' if events behind the range are to be queued again, then of each
-- delivery: its id, JSON, when it is due, the time of its event. Returns how many are new; -1 if the
-- range starts elsewhere now.
local name, read, start = ARGV[1], ARGV[2], ARGV[3]
local lane = ARGV[4] == '1' and later or due
if redis.call('HGET', backlog, 'from:' .. name) ~= read then return -1 end
local bytes, queued = 0, 0
for i = 6, #ARGV, 4 do
  local id, json, due_at, event_at = unpack(ARGV, i, i + 3)
  if redis.call('HEXISTS', pending, id) == 0 then
    bytes = bytes + add(id, json, lane, due_at, event_at)
    queued = queued + 1
  end
end
count_bytes(bytes)
if start > redis.call('HGET', backlog, 'to:' .. name) then
  for _, field in ipairs({'from:', 'to:', 'closing:', 'asked:', 'only:'}) do
    redis.call('HDEL', backlog, field .. name)
  end
else
  redis.call('HSET', backlog, 'from:' .. name, start)
  if ARGV[5] == '1' then redis.call('HSET', backlog, 'closing:' .. name, '1') end
end
return queued
