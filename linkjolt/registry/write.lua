-- Writes one registry entry whole or not at all: entry, index, pointer and change feed.
-- KEYS: entry, index, change feed, audit stream, then the pointer of a link (its code) or key (its
-- digest), or, with a bound, the index whose entries count, too.
-- ARGV: the JSON that the writer read ('' for a new entry), the JSON to store, number, kind, 'live',
-- 'stopped' or 'deleted', the most entries that there may be ('': no bound), the ids of the keys that
-- sealed what is new in it ('': none; else the hash of secrets is the last key), the audit entry.
-- Returns 'retired' (a rotation replaced such a key), 'changed' (the stored JSON is another), 'full'
-- (there are that many), 'taken' (the pointer is another entry's) or 'written'.
local seen, body, number, kind, state, most, key_ids, audited = unpack(ARGV)
if key_ids ~= '' then
  local secrets = table.remove(KEYS)
  for key_id in string.gmatch(key_ids, '%S+') do
    if redis.call('HEXISTS', secrets, 'retired:' .. key_id) == 1 then
      return 'retired'
    end
  end
end
local entry, index, changes, audit, last = unpack(KEYS)

if (redis.call('GET', entry) or '') ~= seen then
  return 'changed'
end
local pointer = last
if most ~= '' then
  pointer = nil
  if redis.call('ZCARD', index) + redis.call('ZCARD', last) >= tonumber(most) then
    return 'full'
  end
end
if state ~= 'live' then
  -- A full server refuses a script's first write if that may take memory, and no later one. So this
  -- lets a key be revoked and an entry be deleted or disabled when nothing can be created.
  redis.call('XTRIM', changes, 'MAXLEN', '~', 100000)
end
-- The pointer is written first on purpose: a full server refuses it, and nothing is changed.
if pointer and not redis.call('SET', pointer, number, 'NX') then
  if redis.call('GET', pointer) ~= number then
    return 'taken'
  end
end
redis.call('SET', entry, body)
if state == 'deleted' then
  redis.call('ZREM', index, number)
else
  redis.call('ZADD', index, number, number)
end
redis.call('XADD', audit, '*', 'e', audited)
redis.call('XADD', changes, 'MAXLEN', '~', 100000, '*', 'kind', kind, 'number', number)
return 'written'
