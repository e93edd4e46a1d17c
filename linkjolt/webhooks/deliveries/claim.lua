-- Leases deliveries that are due; they are due again when the lease ends. KEYS: as pending.lua.
-- ARGV: now (ms), the end of the lease (ms), the most to lease. Returns their JSON.
local found = {}
for _, lane in ipairs({due, later}) do
  if #found == 0 then
    local ids = redis.call('ZRANGE', lane, '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3])
    for _, id in ipairs(ids) do
      local json = redis.call('HGET', pending, id)
      -- Removed first, which a full server accepts: deliveries must end for it to have room again.
      redis.call('ZREM', lane, id)
      -- One without JSON is a former release's: it waits until it is adopted.
      redis.call('ZADD', lane, ARGV[2], id)
      if json then found[#found + 1] = json end
    end
  end
end
return found
