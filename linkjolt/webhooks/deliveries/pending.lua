-- Precedes the scripts that change an endpoint's pending deliveries. KEYS: pending (ids to JSON), due
-- and later (ids by the time they are due; the later lane waits for the due one), order (ids by the
-- time of their events), backlog (bytes of the pending ones; ranges of events that are not queued).
-- The times of events sort as the events do, also within a millisecond.
local pending, due, later, order, backlog = unpack(KEYS)

-- What a delivery takes in Redis besides its JSON (measured with Valkey 9.1).
local OVERHEAD = 350

local function pending_bytes()
  return tonumber(redis.call('HGET', backlog, 'bytes') or '0')
end

local function count_bytes(change)
  if change ~= 0 then redis.call('HINCRBY', backlog, 'bytes', string.format('%.0f', change)) end
end

-- Puts a new delivery in a lane. Returns its bytes.
local function add(id, json, lane, due_at, event_at)
  redis.call('HSET', pending, id, json)
  redis.call('ZADD', lane, due_at, id)
  redis.call('ZADD', order, event_at, id)
  return #json + OVERHEAD
end
