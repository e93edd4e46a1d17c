-- Adds an adjustment to those that wait for an order, unless it waits already or too many do.
-- KEYS: the order's list, the shard's waiting orders, its counts, the audit stream. ARGV: the order's digest, the scope
-- (an account, and a campaign if the author is bound to one), the adjustment id, its digest, when it
-- expires (ms), its JSON, the most that wait in the scope, the most of them for one order,
-- the audit entry ('': none).
-- An entry is its expiry, scope, adjustment id, digest and JSON, a line each.
-- Replies with an outcome, one of `ParkOutcome`, and when the adjustment expires.
local scope, adjustment_id, digest, expires = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local of_scope = 0
for _, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local its_expires, its_scope, its_id, its_digest =
    string.match(entry, '^([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n')
  if its_scope == scope then
    if its_id == adjustment_id then
      return {its_digest == digest and 'waiting' or 'conflict', its_expires}
    end
    of_scope = of_scope + 1
  end
end
if of_scope >= tonumber(ARGV[8]) then return {'order_full', ''} end
local waiting = tonumber(redis.call('HGET', KEYS[3], scope) or '0')
if waiting >= tonumber(ARGV[7]) then return {'account_full', ''} end
redis.call('RPUSH', KEYS[1], table.concat({expires, scope, adjustment_id, digest, ARGV[6]}, '\n'))
-- The order expires with its first adjustment.
redis.call('ZADD', KEYS[2], 'NX', expires, ARGV[1])
redis.call('HINCRBY', KEYS[3], scope, 1)
if ARGV[9] ~= '' then redis.call('XADD', KEYS[4], '*', 'e', ARGV[9]) end
return {'parked', expires}
