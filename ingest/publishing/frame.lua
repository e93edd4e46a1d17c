-- Shared head of the publishing scripts: a producer's frames are numbered 1, 2, 3 on each stream.
-- Its record holds the last number and the events accepted under all of them.

-- 'next' for the number that may be appended, 'there' for one that was, 'gap' for one too far; then
-- the events accepted so far, and the last number. A gap means that Redis forgot frames: of the events it acknowledged
-- before, the ledger gets back those it forgot, once, and the producer's numbers end there.
local function standing(producer, number, acknowledged, ledger)
  local held = redis.call('GET', producer) or '0 0'
  if held == 'closed' then return 'gap', acknowledged end
  local last, accepted = string.match(held, '^(%d+) (%d+)$')
  last, accepted = tonumber(last), tonumber(accepted)
  if number <= last + 1 then return number > last and 'next' or 'there', accepted, last end
  local forgotten = acknowledged - accepted
  if forgotten > 0 then
    redis.call('HINCRBY', ledger, hour(tonumber(redis.call('TIME')[1]) * 1000), forgotten)
  end
  redis.call('SET', producer, 'closed', 'EX', 604800)
  return 'gap', accepted
end

local function record(producer, number, accepted)
  redis.call('SET', producer, string.format('%.0f %.0f', number, accepted), 'EX', 604800)
end
