-- Drops the entries of a log that are stored. KEYS: the log, the backlog. ARGV: the id after the last
-- of them, their number, their bytes.
local removed = redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1])
if redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('HDEL', KEYS[2], 'log_bytes')
elseif removed > 0 then
  -- Fewer if the bound or another aggregator removed some.
  local bytes = math.floor(ARGV[3] * removed / ARGV[2])
  redis.call('HINCRBY', KEYS[2], 'log_bytes', -bytes)
end
