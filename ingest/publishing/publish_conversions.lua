-- Reserves the orders of conversions, and appends the lines of those that were free as one frame.
-- KEYS: stream, producer record, ledger, then each conversion's order, each conversion's pointer,
-- and the orders of the repeats.
-- ARGV: number, acknowledged, mark, number of conversions, seconds to keep reservations (0: for
-- ever), '1' if the posts were answered before (they were spooled), the lines, then for each
-- conversion its reservation: id, fingerprint and state, a line each. Then for each repeat (the
-- conversion to publish if another one has the order): its conversion's index, its reservation, its
-- line, and '1' if an equal fingerprint still is the same post.
-- Replies with the frame's status, the producer's accepted events, then an outcome for each
-- conversion: one of OUTCOME, or the reservation that its order had before.
-- A frame sent again reserves nothing: its outcomes are read from the reservations it made.
-- A spooled post was accepted even if its order is taken: its line is appended as refused, once,
-- and its pointer leads to the reservation (same post) or names its conversion (another post).

-- `frames.ConversionOutcome`: reserved now, reserved as the repeat, or a lost reservation.
local OUTCOME = {reserved = '', repeated = 'repeated', lost = 'lost'}

local number, mark, count = tonumber(ARGV[1]), ARGV[3], tonumber(ARGV[4])
local keep_seconds, spooled, posted_lines = ARGV[5], ARGV[6] == '1', ARGV[7]
local status, accepted, last = frame_status(KEYS[2], number, tonumber(ARGV[2]), KEYS[3])
if status == STATUS.gap then return {status, accepted} end

-- Where each list begins: the element before its first one.
local ORDERS, POINTERS, REPEATED_ORDERS = 3, 3 + count, 3 + 2 * count
local RESERVATIONS, REPEATS = 7, 7 + count
local repeats = #KEYS - REPEATED_ORDERS
local digest_at = string.find(KEYS[ORDERS + 1], ':order:', 1, true) + 7

-- Stores keys and values in turn, in few calls: a call for each key costs more than all the rest.
local function store(pairs_in_turn)
  if keep_seconds == '0' then return redis.call('MSET', unpack(pairs_in_turn)) end
  for index = 1, #pairs_in_turn, 2 do
    redis.call('SET', pairs_in_turn[index], pairs_in_turn[index + 1], 'EX', keep_seconds)
  end
end

local function parse(reservation)
  return string.match(reservation, '^([^\n]*)\n([^\n]*)\n')
end

-- The order key under which each post was looked up.
local looked_up = {}

-- Returns the line to append for a spooled post whose order has the reservation `existing`; nil
-- for none.
local function refuse(index, existing, line)
  local pointer = KEYS[POINTERS + index]
  local id, fingerprint = parse(ARGV[RESERVATIONS + index])
  local existing_id, existing_fingerprint = parse(existing)
  -- Its first sending may have been answered directly, and then it left nothing.
  if existing_id == id or redis.call('EXISTS', pointer) == 1 then return nil end
  local same = existing_fingerprint == fingerprint
  store({pointer, same and string.sub(looked_up[index], digest_at) or '!' .. existing_id})
  return string.sub(line, 1, -2) .. ',"refused":"' .. (same and 'duplicate' or 'conflict') .. '"}'
end

local repeat_of = {}
for nth = 1, repeats do
  local first = REPEATS + 4 * (nth - 1) + 1
  repeat_of[tonumber(ARGV[first])] = {
    order = KEYS[REPEATED_ORDERS + nth], reservation = ARGV[first + 1], line = ARGV[first + 2],
    has_timestamp = ARGV[first + 3] == '1',
  }
end

-- Returns whether a post is another conversion than the one that has its order.
local function is_other(index, existing)
  local id, fingerprint = parse(ARGV[RESERVATIONS + index])
  local existing_id, existing_fingerprint = parse(existing)
  local same = repeat_of[index].has_timestamp and existing_fingerprint == fingerprint
  return existing_id ~= id and not same
end

local reply, to_store, fresh, free = {status, accepted}, {}, {}, 0
local stored = redis.call('MGET', unpack(KEYS, ORDERS + 1, ORDERS + count))
for index = 1, count do
  local order, reservation = KEYS[ORDERS + index], ARGV[RESERVATIONS + index]
  local outcome = OUTCOME.reserved
  -- An order may occur twice in one call.
  local existing = stored[index] or fresh[order]
  if existing and repeat_of[index] and is_other(index, existing) then
    order, reservation = repeat_of[index].order, repeat_of[index].reservation
    outcome = OUTCOME.repeated
    existing = fresh[order] or redis.call('GET', order)
  end
  looked_up[index] = order
  if existing then
    reply[index + 2] = existing
  elseif status == STATUS.duplicate then
    reply[index + 2] = OUTCOME.lost
  else
    local at = free * 4
    to_store[at + 1], to_store[at + 2] = order, reservation
    to_store[at + 3], to_store[at + 4] = KEYS[POINTERS + index], string.sub(order, digest_at)
    fresh[order], reply[index + 2], free = reservation, outcome, free + 1
  end
end

local lines, events = posted_lines, free
if free < count or repeats > 0 then
  local accepted_lines, index = {}, 0
  for line in string.gmatch(posted_lines, '[^\n]+') do
    index = index + 1
    local outcome = reply[index + 2]
    if outcome == OUTCOME.reserved then
      accepted_lines[#accepted_lines + 1] = line
    elseif outcome == OUTCOME.repeated then
      accepted_lines[#accepted_lines + 1] = repeat_of[index].line
    elseif spooled and outcome ~= OUTCOME.lost then
      accepted_lines[#accepted_lines + 1] = refuse(index, outcome, line)
    end
  end
  lines, events = table.concat(accepted_lines, '\n'), #accepted_lines
end
if free > 0 then store(to_store) end
if events > 0 then
  append(KEYS[1], KEYS[3], lines, events, mark)
  reply[2] = accepted + events
end
if status == STATUS.appended or events > 0 then
  store_record(KEYS[2], math.max(number, last), reply[2])
end
return reply
