-- KEYS: stream, producer record, ledger. ARGV: number, mark, events, frame.
local number = tonumber(ARGV[1])
local stand = standing(KEYS[2], number)
if stand == 'next' then
  append(KEYS[1], KEYS[3], ARGV[4], ARGV[3], ARGV[2])
  record(KEYS[2], number)
end
return {stand}
