-- Reserves each order and appends the lines of those that were free, in one frame.
-- KEYS: stream, producer record, ledger, then a pair for each conversion: order, conversion.
-- ARGV: number, acknowledged, mark, seconds to keep (0: for good), '1' if the posts were answered
-- before (they were spooled), then five for each conversion: id, fingerprint, order digest, line,
-- state. Answers the standing, the producer's accepted events, then for each conversion ''
-- (reserved now) or the reservation that stands.
-- A frame sent again reserves nothing: its outcomes are read from the reservations it made.
-- A spooled post whose order is taken was accepted all the same: its line is appended as refused,
-- once, and its id leads to the reservation (same post) or names it (another post).
local number = tonumber(ARGV[1])
local stand, accepted, last = standing(KEYS[2], number, tonumber(ARGV[2]), KEYS[3])
if stand == 'gap' then return {stand, accepted} end

local function keep(key, value)
  redis.call('SET', key, value)
  if ARGV[4] ~= '0' then redis.call('EXPIRE', key, ARGV[4]) end
end

local function refuse(index, held, order_digest)
  local id, fingerprint, line = ARGV[index], ARGV[index + 1], ARGV[index + 3]
  local conversion = KEYS[5 + (index - 6) / 5 * 2]
  local held_id, held_fingerprint = string.match(held, '^([^\n]*)\n([^\n]*)\n')
  -- Its first sending may have been answered straight, and then it left nothing.
  if held_id == id or redis.call('EXISTS', conversion) == 1 then return nil end
  local same = held_fingerprint == fingerprint
  keep(conversion, same and order_digest or '!' .. held_id)
  return string.sub(line, 1, -2) .. ',"refused":"' .. (same and 'duplicate' or 'conflict') .. '"}'
end

local answer, lines = {stand, accepted}, {}
for index = 1, (#KEYS - 3) / 2 do
  local order, conversion = KEYS[2 + index * 2], KEYS[3 + index * 2]
  local at = (index - 1) * 5 + 6
  local held = redis.call('GET', order)
  if held then
    answer[index + 2] = held
    if ARGV[5] == '1' then
      lines[#lines + 1] = refuse(at, held, ARGV[at + 2])
    end
  elseif stand == 'there' then
    answer[index + 2] = 'lost'
  else
    keep(order, ARGV[at] .. '\n' .. ARGV[at + 1] .. '\n' .. ARGV[at + 4])
    keep(conversion, ARGV[at + 2])
    lines[#lines + 1] = ARGV[at + 3]
    answer[index + 2] = ''
  end
end
if #lines > 0 then
  append(KEYS[1], KEYS[3], table.concat(lines, '\n'), #lines, ARGV[3])
  answer[2] = accepted + #lines
end
if stand == 'next' or #lines > 0 then record(KEYS[2], math.max(number, last), answer[2]) end
return answer
