-- Raises the last id of a stream whose tail Redis forgot to the stored position, so that the next
-- entries are past it, and moves the unread entries before it behind it, marked.
-- KEYS: stream. ARGV: its last id as seen, the stored position, ids of unread entries up to that id.
-- Entries added since then at or below the stored position are unread, too. The ledger counts all.
local stream, seen, stored = KEYS[1], ARGV[1], ARGV[2]

local function before(a, b)
  local a_ms, a_sequence = string.match(a, '(%d+)-(%d+)')
  local b_ms, b_sequence = string.match(b, '(%d+)-(%d+)')
  if a_ms ~= b_ms then return tonumber(a_ms) < tonumber(b_ms) end
  return tonumber(a_sequence) < tonumber(b_sequence)
end

local unread = {}
for index = 3, #ARGV do
  unread[#unread + 1] = redis.call('XRANGE', stream, ARGV[index], ARGV[index])[1]
end
for _, entry in ipairs(redis.call('XRANGE', stream, '(' .. seen, stored)) do
  unread[#unread + 1] = entry
end
local info = redis.call('XINFO', 'STREAM', stream)
for index = 1, #info, 2 do
  if info[index] == 'last-generated-id' and before(info[index + 1], stored) then
    redis.call('XSETID', stream, stored)
  end
end
for _, entry in ipairs(unread) do
  local id = redis.call('XADD', stream, '*', 'f', entry[2][2], 'r', 'r')
  redis.call('XDEL', stream, entry[1])
  local ms, sequence = string.match(id, '(%d+)-(%d+)')
  if tonumber(sequence) >= 1000000 then
    -- A position has 20 bits for the sequence, so continue in the next millisecond.
    redis.call('XSETID', stream, string.format('%.0f', tonumber(ms) + 1) .. '-0')
  end
end
return #unread
