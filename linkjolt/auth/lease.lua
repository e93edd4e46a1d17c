-- Takes cells of a rate limit (GCRA): the key holds the instant, in microseconds of this server's
-- clock, at which all cells will be there again.
-- KEYS: 1 the limit's instant
-- ARGV: 1 microseconds a cell  2 cells that may be taken at once (burst)
--       3 cells wanted, of which as many are granted as are there
--       4 cells taken already, which count in any case; negative: granted before, and given back
-- Replies with the cells granted, the cells left, and the microseconds until there is one.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_in = burst * interval

-- A clock that was put back must not make anybody wait for longer than a burst takes.
local missing = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or '0') - now, 0), full_in)
missing = math.min(math.max(missing + ARGV[4] * interval, 0), full_in)

-- The instant is stored in whole microseconds: half of one is no cell.
local available = math.floor((full_in - missing + 0.5) / interval)
local granted = math.min(tonumber(ARGV[3]), available)
missing = missing + granted * interval
local left = available - granted

if missing >= 1 then
  local expires_in = string.format('%.0f', math.ceil(missing / 1000))
  redis.call('SET', KEYS[1], string.format('%.0f', now + missing), 'PX', expires_in)
else
  redis.call('DEL', KEYS[1])
end
local wait = 0
if left == 0 then
  wait = math.max(missing + interval - full_in, 0)
end
return {granted, left, math.ceil(wait)}
