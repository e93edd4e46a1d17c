-- Gives an order to the conversion of a stronger hand, and appends the facts as one frame.
-- KEYS: the order, the order of the weaker conversion (perhaps the same), stream, ledger, the key
-- under which the weaker reservation is kept from now on, the pointers of the weaker conversion and
-- of the stronger one. ARGV: the weaker reservation as it was read, as it is now, where it is kept
-- (a digest), the order's digest, the stronger reservation, seconds to keep reservations (0: for
-- ever), the claims to leave on the weaker conversion's order ('': none), the number of lines, the
-- lines.
-- Replies with '' if it is done, else with the reservation that has the order now ('gone': none).
local weaker, superseded, kept_at, digest, stronger, keep_seconds, claims = unpack(ARGV, 1, 7)
if KEYS[1] ~= KEYS[2] then
  local existing = redis.call('GET', KEYS[1])
  if existing and string.sub(existing, 1, 1) ~= '!' then return existing end
end
local held = redis.call('GET', KEYS[2])
if held ~= weaker then return held or 'gone' end
local function store(key, value)
  if keep_seconds == '0' then return redis.call('SET', key, value) end
  redis.call('SET', key, value, 'EX', keep_seconds)
end
redis.call('DEL', KEYS[2])
if claims ~= '' then store(KEYS[2], claims) end
store(KEYS[5], superseded)
store(KEYS[6], kept_at)
store(KEYS[1], stronger)
store(KEYS[7], digest)
append(KEYS[3], KEYS[4], ARGV[9], tonumber(ARGV[8]), '')
return ''
