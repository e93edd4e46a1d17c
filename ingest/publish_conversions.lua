-- Reserves each order and appends the lines of those that were free, in one frame.
-- KEYS: stream, producer record, ledger, then the orders, then their conversions.
-- ARGV: number, acknowledged, mark, seconds to keep (0: for good), '1' if the posts were answered
-- before (they were spooled), their lines, then what each reserves: id, fingerprint and state, a
-- line each. Answers the standing, the producer's accepted events, then for each conversion ''
-- (reserved now) or the reservation that stands.
-- A frame sent again reserves nothing: its outcomes are read from the reservations it made.
-- A spooled post whose order is taken was accepted all the same: its line is appended as refused,
-- once, and its id leads to the reservation (same post) or names it (another post).
local number = tonumber(ARGV[1])
local stand, accepted, last = standing(KEYS[2], number, tonumber(ARGV[2]), KEYS[3])
if stand == 'gap' then return {stand, accepted} end

local count = (#KEYS - 3) / 2
local digest_at = string.find(KEYS[4], ':order:', 1, true) + 7

-- Few calls with many keys: a call for each key costs more than all the rest.
local function keep(words)
  if ARGV[4] == '0' then return redis.call('MSET', unpack(words)) end
  for index = 1, #words, 2 do
    redis.call('SET', words[index], words[index + 1], 'EX', ARGV[4])
  end
end

-- The line to append for a spooled post whose order `held` has; nil where there is none.
local function refuse(index, held, line)
  local conversion = KEYS[3 + count + index]
  local id, fingerprint = string.match(ARGV[6 + index], '^([^\n]*)\n([^\n]*)\n')
  local held_id, held_fingerprint = string.match(held, '^([^\n]*)\n([^\n]*)\n')
  -- Its first sending may have been answered straight, and then it left nothing.
  if held_id == id or redis.call('EXISTS', conversion) == 1 then return nil end
  local same = held_fingerprint == fingerprint
  keep({conversion, same and string.sub(KEYS[3 + index], digest_at) or '!' .. held_id})
  return string.sub(line, 1, -2) .. ',"refused":"' .. (same and 'duplicate' or 'conflict') .. '"}'
end

local answer, reserved, fresh, free = {stand, accepted}, {}, {}, 0
local found = redis.call('MGET', unpack(KEYS, 4, 3 + count))
for index = 1, count do
  local order = KEYS[3 + index]
  -- An order may come twice in one call.
  local held = found[index] or fresh[order]
  if held then
    answer[index + 2] = held
  elseif stand == 'there' then
    answer[index + 2] = 'lost'
  else
    local at = free * 4
    reserved[at + 1], reserved[at + 2] = order, ARGV[6 + index]
    reserved[at + 3], reserved[at + 4] = KEYS[3 + count + index], string.sub(order, digest_at)
    fresh[order], answer[index + 2], free = ARGV[6 + index], '', free + 1
  end
end

local lines, events = ARGV[6], free
if free < count then
  local kept, index = {}, 0
  for line in string.gmatch(ARGV[6], '[^\n]+') do
    index = index + 1
    if answer[index + 2] == '' then
      kept[#kept + 1] = line
    elseif ARGV[5] == '1' and answer[index + 2] ~= 'lost' then
      kept[#kept + 1] = refuse(index, answer[index + 2], line)
    end
  end
  lines, events = table.concat(kept, '\n'), #kept
end
if free > 0 then keep(reserved) end
if events > 0 then
  append(KEYS[1], KEYS[3], lines, events, ARGV[3])
  answer[2] = accepted + events
end
if stand == 'next' or events > 0 then record(KEYS[2], math.max(number, last), answer[2]) end
return answer
