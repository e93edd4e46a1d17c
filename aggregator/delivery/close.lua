-- Closes the ended slices of a stream: afterwards no entry can appear below the returned millisecond.
-- KEYS: stream. ARGV: width of a slice in milliseconds; ms and sequence of the stored position.
-- Returns {closed until, now, 0}, both in ms; {0, now, 1} if the stream ends before that position
-- (Redis forgot its tail): then nothing is closed, for raising the last id would hide it.
local stream, width = KEYS[1], tonumber(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- Returns an error if the group exists already.
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
  -- A slice's first id is that of an entry, or the last id was raised to it.
  local top = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  local holds = last_ms > closed or last_sequence > 0 or (top and top[1] == last)
  if holds then closed = closed + width end
end
-- Raised, never lowered: XSETID alone checks only the top entry that still exists.
if last_ms < closed then
  local raised = redis.pcall('XSETID', stream, string.format('%.0f-0', closed))
  -- Refused when memory is full: slices before the last id are final all the same.
  if raised.err then closed = last_ms - last_ms % width end
end
return {closed, now, 0}
