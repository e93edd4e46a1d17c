-- Replaces a value with a sealed one, unless a rotation retired the key that sealed it: nothing is
-- sealed by a key that is about to leave the key file.
-- KEYS: string or hash, hash of secrets, change feed, audit stream. ARGV: field ('' for a string), the value that
-- the writer read ('' for none), the new one, ids of the keys that sealed what is new in it, kind and
-- number of the registry's entry, the audit entry ('' for none).
-- Returns 'retired', 'changed' (the value is another) or 'written'.
local field, seen, sealed, key_ids, kind, number, audited = unpack(ARGV)
for key_id in string.gmatch(key_ids, '%S+') do
  if redis.call('HEXISTS', KEYS[2], 'retired:' .. key_id) == 1 then
    return 'retired'
  end
end
local value
if field == '' then
  value = redis.call('GET', KEYS[1])
else
  value = redis.call('HGET', KEYS[1], field)
end
if (value or '') ~= seen then
  return 'changed'
end
if field == '' then
  redis.call('SET', KEYS[1], sealed, 'KEEPTTL')
else
  redis.call('HSET', KEYS[1], field, sealed)
end
if kind ~= '' then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', 100000, '*', 'kind', kind, 'number', number)
end
if audited ~= '' then redis.call('XADD', KEYS[4], '*', 'e', audited) end
return 'written'
