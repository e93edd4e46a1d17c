-- Writes one registry entry whole or not at all: entry, index, pointer and change feed.
-- KEYS: entry, index, change feed, and the pointer of a link (its code) or key (its digest).
-- ARGV: the JSON that the writer read ('' for a new entry), the JSON to store, number, kind, and '1'
-- if deleted. Returns 'changed' (the stored JSON is another), 'taken' (the pointer is another
-- entry's) or 'written'.
local seen, body, number, kind, deleted = unpack(ARGV)
local entry, index, changes, pointer = unpack(KEYS)

if (redis.call('GET', entry) or '') ~= seen then
  return 'changed'
end
-- The pointer is written first on purpose: a full server refuses it, and nothing is changed.
if pointer and not redis.call('SET', pointer, number, 'NX') then
  if redis.call('GET', pointer) ~= number then
    return 'taken'
  end
end
redis.call('SET', entry, body)
if deleted == '1' then
  redis.call('ZREM', index, number)
else
  redis.call('ZADD', index, number, number)
end
redis.call('XADD', changes, 'MAXLEN', '~', 100000, '*', 'kind', kind, 'number', number)
return 'written'
