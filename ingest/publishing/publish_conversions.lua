-- Reserves each order and appends the lines of those that were free, in one frame.
-- KEYS: stream, producer record, ledger, then the orders, then their conversions, then further
-- orders. ARGV: number, acknowledged, mark, seconds to keep (0: for good), '1' if the posts were
-- answered before (they were spooled), their lines, then what each reserves: id, fingerprint and
-- state, a line each; then of each further order whose it is, if his own is taken (by its index),
-- what he reserves there, his line then, and '1' if an equal fingerprint is still the same post.
-- Answers the standing, the producer's accepted events, then for each conversion '' (reserved now),
-- 'again' (under its further order) or the reservation that stands.
-- A frame sent again reserves nothing: its outcomes are read from the reservations it made.
-- A spooled post whose order is taken was accepted all the same: its line is appended as refused,
-- once, and its id leads to the reservation (same post) or names it (another post).
local number = tonumber(ARGV[1])
local stand, accepted, last = standing(KEYS[2], number, tonumber(ARGV[2]), KEYS[3])
if stand == 'gap' then return {stand, accepted} end

local further = (2 * (#ARGV - 6) - (#KEYS - 3)) / 7
local count = (#KEYS - 3 - further) / 2
local digest_at = string.find(KEYS[4], ':order:', 1, true) + 7

-- Few calls with many keys: a call for each key costs more than all the rest.
local function keep(words)
  if ARGV[4] == '0' then return redis.call('MSET', unpack(words)) end
  for index = 1, #words, 2 do
    redis.call('SET', words[index], words[index + 1], 'EX', ARGV[4])
  end
end

-- Under what order each post was looked for.
local under = {}

-- The line to append for a spooled post whose order `held` has; nil where there is none.
local function refuse(index, held, line)
  local conversion = KEYS[3 + count + index]
  local id, fingerprint = string.match(ARGV[6 + index], '^([^\n]*)\n([^\n]*)\n')
  local held_id, held_fingerprint = string.match(held, '^([^\n]*)\n([^\n]*)\n')
  -- Its first sending may have been answered straight, and then it left nothing.
  if held_id == id or redis.call('EXISTS', conversion) == 1 then return nil end
  local same = held_fingerprint == fingerprint
  keep({conversion, same and string.sub(under[index], digest_at) or '!' .. held_id})
  return string.sub(line, 1, -2) .. ',"refused":"' .. (same and 'duplicate' or 'conflict') .. '"}'
end

local again = {}
for at = 1, further do
  local word = 6 + count + 4 * at - 4
  again[tonumber(ARGV[word + 1])] = {
    order = KEYS[3 + 2 * count + at], reserves = ARGV[word + 2], line = ARGV[word + 3],
    timed = ARGV[word + 4] == '1',
  }
end

-- Whether a post of an order that `held` has is another conversion of it.
local function is_other(index, held)
  local id, fingerprint = string.match(ARGV[6 + index], '^([^\n]*)\n([^\n]*)\n')
  local held_id, held_fingerprint = string.match(held, '^([^\n]*)\n([^\n]*)\n')
  return held_id ~= id and not (again[index].timed and held_fingerprint == fingerprint)
end

local answer, reserved, fresh, free = {stand, accepted}, {}, {}, 0
local found = redis.call('MGET', unpack(KEYS, 4, 3 + count))
for index = 1, count do
  local order, reserves, made = KEYS[3 + index], ARGV[6 + index], ''
  -- An order may come twice in one call.
  local held = found[index] or fresh[order]
  if held and again[index] and is_other(index, held) then
    order, reserves, made = again[index].order, again[index].reserves, 'again'
    held = fresh[order] or redis.call('GET', order)
  end
  under[index] = order
  if held then
    answer[index + 2] = held
  elseif stand == 'there' then
    answer[index + 2] = 'lost'
  else
    local at = free * 4
    reserved[at + 1], reserved[at + 2] = order, reserves
    reserved[at + 3], reserved[at + 4] = KEYS[3 + count + index], string.sub(order, digest_at)
    fresh[order], answer[index + 2], free = reserves, made, free + 1
  end
end

local lines, events = ARGV[6], free
if free < count or further > 0 then
  local kept, index = {}, 0
  for line in string.gmatch(ARGV[6], '[^\n]+') do
    index = index + 1
    local outcome = answer[index + 2]
    if outcome == '' then
      kept[#kept + 1] = line
    elseif outcome == 'again' then
      kept[#kept + 1] = again[index].line
    elseif ARGV[5] == '1' and outcome ~= 'lost' then
      kept[#kept + 1] = refuse(index, outcome, line)
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
