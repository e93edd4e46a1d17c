-- Appends one event again, marked, so that the aggregator looks it up before it stores it.
-- KEYS: stream, ledger. ARGV: frame (one line). Answers the entry's id.
local id = redis.call('XADD', KEYS[1], '*', 'f', ARGV[1], 'r', 'r')
local ms, sequence = string.match(id, '(%d+)-(%d+)')
if tonumber(sequence) >= 1000000 then
  -- The clock stepped back: a position has 20 bits for the sequence, so move on by hand.
  redis.call('XSETID', KEYS[1], string.format('%.0f', tonumber(ms) + 1) .. '-0')
end
redis.call('HINCRBY', KEYS[2], string.format('%.0f', math.floor(tonumber(ms) / 3600000)), 1)
return id
