-- Reserves each order and appends the lines of those that were free, in one frame.
-- KEYS: stream, producer record, ledger, then a pair for each conversion: order, conversion.
-- ARGV: number, mark, seconds to keep (0: for good), then five for each conversion:
-- id, fingerprint, order digest, line, state.
-- Answers the standing, then for each conversion '' (reserved now) or the reservation that stands.
-- A frame sent again reserves nothing: its outcomes are read from the reservations it made.
local number = tonumber(ARGV[1])
local stand = standing(KEYS[2], number)
if stand == 'gap' then return {stand} end

local function keep(key, value)
  redis.call('SET', key, value)
  if ARGV[3] ~= '0' then redis.call('EXPIRE', key, ARGV[3]) end
end

local answer, lines = {stand}, {}
for index = 1, (#KEYS - 3) / 2 do
  local order, conversion = KEYS[2 + index * 2], KEYS[3 + index * 2]
  local at = (index - 1) * 5 + 4
  local held = redis.call('GET', order)
  if held then
    answer[index + 1] = held
  elseif stand == 'there' then
    answer[index + 1] = 'lost'
  else
    keep(order, ARGV[at] .. '\n' .. ARGV[at + 1] .. '\n' .. ARGV[at + 4])
    keep(conversion, ARGV[at + 2])
    lines[#lines + 1] = ARGV[at + 3]
    answer[index + 1] = ''
  end
end
if stand == 'next' then
  if #lines > 0 then
    append(KEYS[1], KEYS[3], table.concat(lines, '\n'), #lines, ARGV[2])
  end
  record(KEYS[2], number)
end
return answer
