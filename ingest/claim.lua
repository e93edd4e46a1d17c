-- Claims a customer's first order. KEYS: the customer. ARGV: the claim that was seen and is to be
-- replaced ('': none), the own one. Answers the claim that stands.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return held end
redis.call('SET', KEYS[1], ARGV[2])
return ARGV[2]
