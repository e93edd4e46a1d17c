-- Records a range of events that no longer are in their stream; a full server accepts it. KEYS: as
-- pending.lua. ARGV: the range's name, its start, its end (20 digits).
redis.call('HDEL', backlog, '')
local name, start, last = unpack(ARGV)
local from, to = unpack(redis.call('HMGET', backlog, 'from:' .. name, 'to:' .. name))
if from and from < start then start = from end
if to and to > last then last = to end
redis.call('HSET', backlog, 'from:' .. name, start, 'to:' .. name, last, 'closing:' .. name, '1')
