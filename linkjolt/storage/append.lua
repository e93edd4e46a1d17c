-- Precedes every script that writes to a stream.

local function hour(ms) return string.format('%.0f', math.floor(ms / 3600000)) end

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
    -- The clock stepped back: a position has 20 bits for the sequence, so advance the time by hand.
    redis.call('XSETID', stream, string.format('%.0f', tonumber(ms) + 1) .. '-0')
  end
  redis.call('HINCRBY', ledger, hour(tonumber(ms)), events)
end
