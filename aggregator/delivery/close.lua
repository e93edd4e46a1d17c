-- Closes what is over of a stream: afterwards no entry can appear below the answered millisecond.
-- KEYS: stream. ARGV: width of a slice in milliseconds; ms and sequence of the stored position.
-- Answers {closed until, now, 0}, both in ms; {0, now, 1} where the stream ends before that position
-- (Redis forgot its tail): then nothing is closed, for raising the end would hide it.
local stream, width = KEYS[1], tonumber(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- Answers an error where the group is there, which is as good.
redis.pcall('XGROUP', 'CREATE', stream, 'warehouse', '0', 'MKSTREAM')

local last
local info = redis.call('XINFO', 'STREAM', stream)
for index = 1, #info, 2 do
  if info[index] == 'last-generated-id' then last = info[index + 1] end
end
local last_ms, last_sequence = string.match(last, '(%d+)-(%d+)')
last_ms, last_sequence = tonumber(last_ms), tonumber(last_sequence)

local stored_ms, stored_sequence = tonumber(ARGV[2]), tonumber(ARGV[3])
if last_ms < stored_ms or (last_ms == stored_ms and last_sequence < stored_sequence) then
  return {0, now, 1}
end

local closed = now - now % width
if last_ms >= closed + width then
  -- Ids run ahead of the clock (it stepped back): close the top slice if it holds entries.
  closed = last_ms - last_ms % width
  -- A slice's first id is an entry's, or where the end was raised to.
  local top = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  local holds = last_ms > closed or last_sequence > 0 or (top and top[1] == last)
  if holds then closed = closed + width end
end
-- Raised, never lowered: XSETID alone checks only the top entry that still exists.
if last_ms < closed then
  local raised = redis.pcall('XSETID', stream, string.format('%.0f-0', closed))
  -- Refused when memory is full: what lies in slices before the last id is final all the same.
  if raised.err then closed = last_ms - last_ms % width end
end
return {closed, now, 0}
