-- Shared head of the publishing scripts: a producer's frames are numbered 1, 2, 3 on each stream.

-- 'next' for the number that may be appended, 'there' for one that was, 'gap' for one too far.
local function standing(producer, number)
  local last = tonumber(redis.call('GET', producer) or '0')
  if number > last + 1 then return 'gap' end
  return number > last and 'next' or 'there'
end

local function record(producer, number)
  redis.call('SET', producer, string.format('%.0f', number), 'EX', 604800)
end

-- Appends one frame and counts its events in the hour of its entry id.
local function append(stream, ledger, frame, events, mark)
  local id
  if mark == '' then
    id = redis.call('XADD', stream, '*', 'f', frame)
  else
    id = redis.call('XADD', stream, '*', 'f', frame, 'r', mark)
  end
  local ms, sequence = string.match(id, '(%d+)-(%d+)')
  if tonumber(sequence) >= 1000000 then
    -- The clock stepped back: a position has 20 bits for the sequence, so move on by hand.
    redis.call('XSETID', stream, string.format('%.0f', tonumber(ms) + 1) .. '-0')
  end
  redis.call('HINCRBY', ledger, string.format('%.0f', math.floor(tonumber(ms) / 3600000)), events)
end
