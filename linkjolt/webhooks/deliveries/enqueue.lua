-- Queues new deliveries while there is room; of events of a stream, extends the range of those that
-- are not queued. KEYS: as pending.lua. ARGV: the stream's number ('': none), the most deliveries and
-- the most bytes that may be pending, then of each delivery: its position (20 digits), id, JSON, when
-- it is due, the time of its event. Returns how many are new, and how many are in the range.
local stream, most, most_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local from_field, to_field, closing_field = 'from:' .. stream, 'to:' .. stream, 'closing:' .. stream
local from, to, closing = false, false, false
if stream ~= '' then
  from, to, closing = unpack(redis.call('HMGET', backlog, from_field, to_field, closing_field))
end
if most == 0 then
  -- Called so when Redis is full: after a write that takes no memory, the few bytes of a range go in.
  redis.call('HDEL', backlog, '')
end
local count, before = redis.call('HLEN', pending), pending_bytes()
local bytes, queued, behind, changed = before, 0, 0, false

for i = 4, #ARGV, 5 do
  local position, id, json, due_at, event_at = unpack(ARGV, i, i + 4)
  local room = count < most and bytes < most_bytes
  if from and position >= from and (not closing or position <= to) then
    -- In the range: it is queued in its turn.
    if position > to then to, changed = position, true end
    behind = behind + 1
  elseif redis.call('HEXISTS', pending, id) == 0 then
    if room or (from and position < from) then
      -- Before the range there are only the entries that another process has left: a few.
      bytes = bytes + add(id, json, due, due_at, event_at)
      count, queued = count + 1, queued + 1
    elseif stream ~= '' then
      from, to, closing, changed = from or position, position, false, true
      behind = behind + 1
    end
  end
end

count_bytes(bytes - before)
if changed then
  redis.call('HSET', backlog, from_field, from, to_field, to)
  redis.call('HDEL', backlog, closing_field)
end
return {queued, behind}
