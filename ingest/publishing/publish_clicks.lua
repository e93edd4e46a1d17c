-- Appends a frame of clicks.
-- KEYS: stream, producer record, ledger. ARGV: number, acknowledged, mark, events, frame. Frames
-- spooled by an older version have one argument more before the frame.
-- Replies with the frame's status and the producer's accepted events.
local number, events = tonumber(ARGV[1]), tonumber(ARGV[4])
local status, accepted = frame_status(KEYS[2], number, tonumber(ARGV[2]), KEYS[3])
if status == STATUS.appended then
  append(KEYS[1], KEYS[3], ARGV[#ARGV], events, ARGV[3])
  accepted = accepted + events
  store_record(KEYS[2], number, accepted)
end
return {status, accepted}
