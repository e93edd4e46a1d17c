-- Replaces a conversion's state if it is still the one that was read, and appends the event.
-- KEYS: the order, stream, ledger, the conversion, the audit stream. ARGV: the reservation that was
-- read, its replacement, its time to live (seconds; 0: for ever), the event's line, the audit entry
-- ('': none). Returns '' if it is done,
-- else the reservation that is stored now ('gone': none), and changes nothing.
local held = redis.call('GET', KEYS[1])
if held ~= ARGV[1] then return held or 'gone' end
if ARGV[3] == '0' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
  redis.call('EXPIRE', KEYS[4], ARGV[3])
end
append(KEYS[2], KEYS[3], ARGV[4], 1, '')
if ARGV[5] ~= '' then redis.call('XADD', KEYS[5], '*', 'e', ARGV[5]) end
return ''
