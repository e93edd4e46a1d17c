-- Puts a conversion's state in place of the one that was seen, and appends what was done to it.
-- KEYS: the order, stream, ledger, the conversion. ARGV: what was seen, what replaces it, seconds to
-- keep it (0: for good), the event's line. Answers '' when it is done, else what stands there:
-- nothing was done.
local held = redis.call('GET', KEYS[1])
if held ~= ARGV[1] then return held or 'gone' end
if ARGV[3] == '0' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
  redis.call('EXPIRE', KEYS[4], ARGV[3])
end
append(KEYS[2], KEYS[3], ARGV[4], 1, '')
return ''
