-- Replaces one person's entry whole or not at all: entry, index, pointer, owners and change feed.
-- KEYS: entry, index, change feed, audit stream, the account's owners, the pointers of the e-mail
-- address before and after, the hash of secrets.
-- ARGV: the JSON that the writer read, the JSON to store, number, 'live', 'stopped' or 'deleted',
-- 'owner' for one who is an owner from now on, 'keep' for one who has an address from now on, the ids
-- of the keys that sealed what is new in it, and the audit entry.
-- Returns 'retired' (a rotation replaced such a key), 'changed' (the stored JSON is another), 'taken'
-- (the address is another person's), 'last_owner' (no other owner would be left) or 'written'.
local seen, body, number, state, owner, keep, key_ids, audited = unpack(ARGV)
local entry, index, changes, audit, owners, former, pointer, secrets = unpack(KEYS)

for key_id in string.gmatch(key_ids, '%S+') do
  if redis.call('HEXISTS', secrets, 'retired:' .. key_id) == 1 then
    return 'retired'
  end
end

if (redis.call('GET', entry) or '') ~= seen then
  return 'changed'
end
if keep == 'keep' and (redis.call('GET', pointer) or number) ~= number then
  return 'taken'
end
local is_owner = redis.call('SISMEMBER', owners, number) == 1
if is_owner and owner == '' and redis.call('SCARD', owners) == 1 then
  return 'last_owner'
end
if state ~= 'live' then
  -- As in `../write.lua`: a full server lets people be removed.
  redis.call('XTRIM', changes, 'MAXLEN', '~', 100000)
end
if keep == 'keep' then
  redis.call('SET', pointer, number)
end
if (former ~= pointer or keep == '') and redis.call('GET', former) == number then
  redis.call('DEL', former)
end
redis.call('SET', entry, body)
redis.call(owner == 'owner' and 'SADD' or 'SREM', owners, number)
if state == 'deleted' then
  redis.call('ZREM', index, number)
else
  redis.call('ZADD', index, number, number)
end
redis.call('XADD', audit, '*', 'e', audited)
redis.call('XADD', changes, 'MAXLEN', '~', 100000, '*', 'kind', 'user', 'number', number)
return 'written'
