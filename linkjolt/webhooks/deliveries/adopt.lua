-- Takes over a delivery that a former release stored, once. KEYS: as record.lua, then the delivery
-- and the log of the former release. ARGV: its id, its JSON, the time of its event, '1' if it is
-- pending, how many outcomes are kept, the most bytes of the log.
local outcomes, log, former, former_log = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local id, json, event_at, is_pending, kept, most_bytes = unpack(ARGV)
if redis.call('DEL', former) == 1 then
  if is_pending == '1' then
    count_bytes(add(id, json, due, redis.call('ZSCORE', due, id) or event_at, event_at))
  else
    redis.call('LPUSH', outcomes, json)
    redis.call('LTRIM', outcomes, 0, kept - 1)
    redis.call('XADD', log, '*', 'd', json)
    bound_log(log, redis.call('HINCRBY', backlog, 'log_bytes', #json), tonumber(most_bytes))
  end
end
redis.call('ZREM', former_log, id)
