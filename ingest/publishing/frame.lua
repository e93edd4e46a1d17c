-- Shared head of the publishing scripts: a producer's frames are numbered 1, 2, 3 on each stream.
-- A producer's record holds its last number and the events accepted under all of its numbers.

-- The statuses of a frame: `frames.FrameStatus`.
local STATUS = {appended = 'appended', duplicate = 'duplicate', gap = 'gap'}

-- Returns the frame's status ('appended': the caller must append it now), the events accepted so
-- far, and the last number. A gap means that Redis forgot frames: the ledger gets back the
-- acknowledged events among them, once, and the producer's numbering ends.
local function frame_status(producer, number, acknowledged, ledger)
  local record = redis.call('GET', producer) or '0 0'
  if record == 'closed' then return STATUS.gap, acknowledged end
  local last, accepted = string.match(record, '^(%d+) (%d+)$')
  last, accepted = tonumber(last), tonumber(accepted)
  if number <= last then return STATUS.duplicate, accepted, last end
  if number == last + 1 then return STATUS.appended, accepted, last end
  local forgotten = acknowledged - accepted
  if forgotten > 0 then
    redis.call('HINCRBY', ledger, hour(tonumber(redis.call('TIME')[1]) * 1000), forgotten)
  end
  redis.call('SET', producer, 'closed', 'EX', 604800)
  return STATUS.gap, accepted
end

local function store_record(producer, number, accepted)
  redis.call('SET', producer, string.format('%.0f %.0f', number, accepted), 'EX', 604800)
end
