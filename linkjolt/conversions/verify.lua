-- Verifies a conversion: replaces its state if it is still the one that was read, reserves its order
-- for it, and appends the event. KEYS: its reservation, the account's order, stream, ledger, its
-- pointer, the audit stream. ARGV: the reservation that was read, its replacement, seconds to keep it
-- (0: for ever), the event's line, the order's digest, its campaign, the audit entry ('': none).
-- Claims of other campaigns on the order do not count. Returns '' if it is done, else the
-- reservation that is stored now ('gone': none), or '!' and what has the order; and changes nothing.
local held = redis.call('GET', KEYS[1])
if held ~= ARGV[1] then return held or 'gone' end
local taken = redis.call('GET', KEYS[2])
local is_claims = taken and string.sub(taken, 1, 1) == '!'
if taken and (not is_claims or string.find(taken, ' ' .. ARGV[6] .. ':', 1, true)) then
  return '!' .. taken
end
redis.call('DEL', KEYS[1])
if ARGV[3] == '0' then
  redis.call('MSET', KEYS[2], ARGV[2], KEYS[5], ARGV[5])
else
  redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
  redis.call('SET', KEYS[5], ARGV[5], 'EX', ARGV[3])
end
append(KEYS[3], KEYS[4], ARGV[4], 1, '')
if ARGV[7] ~= '' then redis.call('XADD', KEYS[6], '*', 'e', ARGV[7]) end
return ''
