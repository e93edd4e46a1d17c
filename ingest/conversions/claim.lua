-- Claims a key for whoever comes first. KEYS: the key. ARGV: the claim that was seen and is to be
-- replaced ('': none), the own one, seconds to keep it (0: for good). Answers the claim that stands.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return held end
if ARGV[3] == '0' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return ARGV[2]
