-- Queues new deliveries while there is room; of events of a stream, extends the range of those that
-- are not queued. KEYS: as pending.lua. ARGV: the stream's number ('': none), the most deliveries and
-- the most bytes that may be pending, then of each delivery: its position (20 digits), id, JSON, when
-- it is due, the time of its event. Returns how many are new, and how many are in a range.
local stream, most, most_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
-- A second one is opened while the first is closing.
local ranges = {{name = stream}, {name = stream .. '+'}}
if stream ~= '' then
  for _, range in ipairs(ranges) do
    local fields = {'from:' .. range.name, 'to:' .. range.name, 'closing:' .. range.name}
    range.from, range.to, range.closing = unpack(redis.call('HMGET', backlog, unpack(fields)))
  end
end
if most == 0 then
  -- Called so when Redis is full: after a write that takes no memory, the few bytes of a range go in.
  redis.call('HDEL', backlog, '')
end

-- Returns whether an event is in a range, where it is queued in its turn.
local function is_behind(position)
  for _, range in ipairs(ranges) do
    if range.from and position >= range.from and not range.closing then
      if position > range.to then range.to, range.changed = position, true end
      return true
    end
    if range.from and position >= range.from and position <= range.to then return true end
  end
  return false
end

-- Returns whether an event is older than a range: one of the few that another process has left.
local function is_left_over(position)
  for _, range in ipairs(ranges) do
    if range.from and position < range.from then return true end
  end
  return false
end

local function open(position)
  for _, range in ipairs(ranges) do
    if not range.from then
      range.from, range.to, range.closing, range.changed = position, position, false, true
      return
    end
  end
  local last = ranges[1].to > ranges[2].to and ranges[1] or ranges[2]
  last.to, last.closing, last.changed = position, false, true
end

local count, before = redis.call('HLEN', pending), pending_bytes()
local bytes, queued, behind = before, 0, 0
for i = 4, #ARGV, 5 do
  local position, id, json, due_at, event_at = unpack(ARGV, i, i + 4)
  if is_behind(position) then
    behind = behind + 1
  elseif redis.call('HEXISTS', pending, id) == 0 then
    if (count < most and bytes < most_bytes) or is_left_over(position) then
      bytes = bytes + add(id, json, due, due_at, event_at)
      count, queued = count + 1, queued + 1
    elseif stream ~= '' then
      open(position)
      behind = behind + 1
    end
  end
end

count_bytes(bytes - before)
for _, range in ipairs(ranges) do
  if range.changed then
    redis.call('HSET', backlog, 'from:' .. range.name, range.from, 'to:' .. range.name, range.to)
    if not range.closing then redis.call('HDEL', backlog, 'closing:' .. range.name) end
  end
end
return {queued, behind}
