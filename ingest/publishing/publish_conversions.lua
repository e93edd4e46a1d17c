-- Reserves the orders of conversions, and appends the lines of those that were free as one frame.
-- KEYS: stream, producer record, ledger, then each conversion's order, each conversion's pointer,
-- and the key of each group at the end of ARGV.
-- ARGV: number, acknowledged, mark, number of conversions, seconds to keep reservations (0: for
-- ever), '1' if the posts were answered before (they were spooled), the lines, then for each
-- conversion its reservation: id, fingerprint and state, a line each. Then groups of four, each with
-- a key. Of a repeat (the conversion to publish if another one has the order; its key is its own
-- order): its conversion's index, its reservation, its line, and '1' if an equal fingerprint still
-- is the same post, else '0'. Of a conversion whose order is its campaign's (the key is the same
-- order of the account): its index, its campaign, '', and 'campaign'. Of one of several conversions
-- of an order (the key is its own order as a former release named it): its index, '', '', 'former'.
--
-- An account's order is reserved by one conversion, or holds the claims of campaigns on it:
-- '!', then for each ' campaign:digest'. A claim never blocks the account, nor another campaign; the
-- account's reservation blocks only the campaign it is in.
--
-- Replies with the frame's status, the producer's accepted events, then an outcome for each
-- conversion: one of OUTCOME, or the reservation that its order had before.
-- A frame sent again reserves nothing: its outcomes are read from the reservations it made.
-- A spooled post was accepted even if its order is taken: its line is appended as refused, once,
-- and its pointer leads to the reservation (same post) or names its conversion (another post).

-- `frames.ConversionOutcome`: reserved now, now and by another campaign too, reserved as the repeat,
-- or a lost reservation.
local OUTCOME = {reserved = '', shared = 'shared', repeated = 'repeated', lost = 'lost'}
-- The mark of a line, and of a state, whose order another campaign has, too (`Conversion`).
local SHARED = ',"order_shared":true}'

local number, mark, count = tonumber(ARGV[1]), ARGV[3], tonumber(ARGV[4])
local keep_seconds, spooled, posted_lines = ARGV[5], ARGV[6] == '1', ARGV[7]
local status, accepted, last = frame_status(KEYS[2], number, tonumber(ARGV[2]), KEYS[3])
if status == STATUS.gap then return {status, accepted} end

-- Where each list begins: the element before its first one.
local ORDERS, POINTERS, GROUP_KEYS = 3, 3 + count, 3 + 2 * count
local RESERVATIONS, GROUPS = 7, 7 + count
local groups = #KEYS - GROUP_KEYS
local digest_at = string.find(KEYS[ORDERS + 1], ':order:', 1, true) + 7

-- Stores keys and values in turn, in few calls: a call for each key costs more than all the rest.
local function store(pairs_in_turn)
  if keep_seconds == '0' then return redis.call('MSET', unpack(pairs_in_turn)) end
  for index = 1, #pairs_in_turn, 2 do
    redis.call('SET', pairs_in_turn[index], pairs_in_turn[index + 1], 'EX', keep_seconds)
  end
end

local function parse(reservation)
  return string.match(reservation, '^([^\n]*)\n([^\n]*)\n(.*)$')
end

local function is_keyed(fingerprint) return string.sub(fingerprint, 1, 1) == 'k' end

-- Returns whether a post has made a reservation. A former release's fingerprint has no key, and
-- cannot be compared here: then the same amount, at the same instant if that was stated, is enough.
local function is_same(posted, existing)
  local _, fingerprint, state = parse(posted)
  local _, existing_fingerprint, existing_state = parse(existing)
  if is_keyed(fingerprint) == is_keyed(existing_fingerprint) then
    return fingerprint == existing_fingerprint
  end
  local new, old = cjson.decode(state), cjson.decode(existing_state)
  old = old.first or old
  return new.order_value_minor == old.order_value_minor and new.currency == old.currency
    and (not new.stated_ms or new.time_ms == old.time_ms)
end

local function campaign_of(reservation)
  local _, _, state = parse(reservation)
  return string.format('%.0f', cjson.decode(state).campaign or 0)
end

local function is_claims(value) return value and string.sub(value, 1, 1) == '!' end

-- Returns whether a weaker hand than an API key of the account made a reservation; JSON escapes the
-- quotes of every text that somebody chose.
local function is_weak(reservation) return string.find(reservation, '"hand":"', 1, true) ~= nil end

-- The key under which the reservation of each post's order is, or will be.
local found_at = {}

-- Returns the line to append for a spooled post whose order has the reservation `existing`; nil
-- for none.
local function refuse(index, existing, line)
  local pointer = KEYS[POINTERS + index]
  local id, existing_id = parse(ARGV[RESERVATIONS + index]), parse(existing)
  -- Its first sending may have been answered directly, and then it left nothing.
  if existing_id == id or redis.call('EXISTS', pointer) == 1 then return nil end
  local same = is_same(ARGV[RESERVATIONS + index], existing)
  store({pointer, same and string.sub(found_at[index], digest_at) or '!' .. existing_id})
  return string.sub(line, 1, -2) .. ',"refused":"' .. (same and 'duplicate' or 'conflict') .. '"}'
end

local repeat_of, claim_of, former_of = {}, {}, {}
for nth = 1, groups do
  local first, key = GROUPS + 4 * (nth - 1) + 1, KEYS[GROUP_KEYS + nth]
  local index = tonumber(ARGV[first])
  if ARGV[first + 3] == 'campaign' then
    claim_of[index] = {account_order = key, campaign = ARGV[first + 1]}
  elseif ARGV[first + 3] == 'former' then
    former_of[index] = key
  else
    repeat_of[index] = {
      order = key, reservation = ARGV[first + 1], line = ARGV[first + 2],
      has_timestamp = ARGV[first + 3] == '1',
    }
  end
end

-- Returns whether a post is another conversion than the one that has its order. A weaker hand's
-- conversion is replaced, not repeated.
local function is_other(index, existing)
  local id, existing_id = parse(ARGV[RESERVATIONS + index]), parse(existing)
  local same = repeat_of[index].has_timestamp and is_same(ARGV[RESERVATIONS + index], existing)
  local weaker = is_weak(existing) and not is_weak(ARGV[RESERVATIONS + index])
  return existing_id ~= id and not same and not weaker
end

local reply, to_store, fresh, free = {status, accepted}, {}, {}, 0
local altered = false

local function held_of(key)
  if fresh[key] ~= nil then return fresh[key] end
  return redis.call('GET', key)
end

local function keep(key, value)
  to_store[#to_store + 1], to_store[#to_store + 2] = key, value
  fresh[key] = value
end

-- Returns the reservation that a former release made of the same one of several posts of an order.
local function former_of_several(index)
  local existing = former_of[index] and held_of(former_of[index])
  if existing then found_at[index] = former_of[index] end
  return existing
end

-- Resolves the claims that campaigns have on an account's order. Returns the reservation of the
-- post's own campaign, if that has one, else that another campaign has the order.
local function resolve_claims(index, claims)
  local own = campaign_of(ARGV[RESERVATIONS + index])
  local digest = string.match(claims, ' ' .. own .. ':(%x+)')
  local key = digest and string.sub(KEYS[ORDERS + index], 1, digest_at - 1) .. digest
  local existing = key and held_of(key)
  if not existing then return nil, true end
  found_at[index] = key
  return existing, false
end

-- Judges a campaign's claim by what the account's order holds. Returns the reservation that blocks
-- it, whether another campaign has the order, and the claims to store with this one.
local function judge_claim(index, claim)
  local held = held_of(claim.account_order)
  if held and not is_claims(held) then
    if campaign_of(held) ~= claim.campaign then return nil, true end
    found_at[index] = claim.account_order
    return held, false
  end
  local digest = string.sub(KEYS[ORDERS + index], digest_at)
  return nil, held and true, (held or '!') .. ' ' .. claim.campaign .. ':' .. digest
end

local stored = redis.call('MGET', unpack(KEYS, ORDERS + 1, ORDERS + count))
for index = 1, count do
  local order, reservation = KEYS[ORDERS + index], ARGV[RESERVATIONS + index]
  local outcome, claims = OUTCOME.reserved, nil
  found_at[index] = order
  -- An order may occur twice in one call.
  local existing, shared = fresh[order] or stored[index], false
  if is_claims(existing) then
    existing, shared = resolve_claims(index, existing)
  elseif not existing and claim_of[index] then
    existing, shared, claims = judge_claim(index, claim_of[index])
  elseif not existing and not repeat_of[index] then
    existing = former_of_several(index)
  end
  if existing and repeat_of[index] and is_other(index, existing) then
    order, reservation = repeat_of[index].order, repeat_of[index].reservation
    outcome = OUTCOME.repeated
    found_at[index] = order
    existing = held_of(order) or former_of_several(index)
  end
  if existing then
    reply[index + 2] = existing
  elseif status == STATUS.duplicate then
    reply[index + 2] = OUTCOME.lost
  else
    if shared and outcome == OUTCOME.reserved then
      outcome, altered = OUTCOME.shared, true
      reservation = string.sub(reservation, 1, -2) .. SHARED
    end
    keep(order, reservation)
    keep(KEYS[POINTERS + index], string.sub(order, digest_at))
    if claims then keep(claim_of[index].account_order, claims) end
    reply[index + 2], free = outcome, free + 1
  end
end

local lines, events = posted_lines, free
if free < count or groups > 0 or altered then
  local accepted_lines, index = {}, 0
  for line in string.gmatch(posted_lines, '[^\n]+') do
    index = index + 1
    local outcome = reply[index + 2]
    if outcome == OUTCOME.reserved then
      accepted_lines[#accepted_lines + 1] = line
    elseif outcome == OUTCOME.shared then
      accepted_lines[#accepted_lines + 1] = string.sub(line, 1, -2) .. SHARED
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
