-- Stores the first claim of a key. KEYS: the key. ARGV: the claim to replace ('': none), the new
-- claim ('': none, the other is released), seconds to keep it (0: for ever). Replies with the valid
-- claim.
local existing = redis.call('GET', KEYS[1])
if existing and existing ~= ARGV[1] then return existing end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
elseif ARGV[3] == '0' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return ARGV[2]
