-- Precedes the scripts that append to the log of finished deliveries; follows pending.lua.

-- Drops the oldest entries of a log until it has at most so many bytes. Returns how many.
local function bound_log(log, bytes, most_bytes)
  local dropped = 0
  while bytes > most_bytes do
    local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
    if not oldest then break end
    redis.call('XDEL', log, oldest[1])
    bytes = redis.call('HINCRBY', backlog, 'log_bytes', -#oldest[2][2])
    dropped = dropped + 1
  end
  if dropped > 0 then redis.call('HINCRBY', backlog, 'dropped', dropped) end
  return dropped
end
