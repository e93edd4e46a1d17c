-- Selects the reject of one line of a stream.
SELECT s, pos, line, account, reason, message, body
FROM rejects FINAL
WHERE s = {s:UInt16} AND pos = {pos:UInt64} AND line = {line:UInt32}
