-- Takes a free lease, or renews the owner's. KEYS: lease. ARGV: owner, milliseconds.
-- PEXPIRE is not refused when memory is full, as SET would be.
local owner = redis.call('GET', KEYS[1])
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 'held'
end
if owner then return 'foreign' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'taken'
