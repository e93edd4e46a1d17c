-- KEYS: stream, producer record, ledger. ARGV: number, acknowledged, mark, events, frame.
-- Answers the standing and the producer's accepted events.
local number = tonumber(ARGV[1])
local stand, accepted = standing(KEYS[2], number, tonumber(ARGV[2]), KEYS[3])
if stand == 'next' then
  append(KEYS[1], KEYS[3], ARGV[5], ARGV[4], ARGV[3])
  accepted = accepted + ARGV[4]
  record(KEYS[2], number, accepted)
end
return {stand, accepted}
