-- Selects rejects before a place, newest first. `reason` '' is any; `pending` omits replayed ones.
SELECT s, pos, line, account, reason, message, body
FROM rejects FINAL
WHERE ({reason:String} = '' OR reason = {reason:String})
    AND (NOT {pending:UInt8} OR NOT startsWith(message, {replayed:String}))
    AND (pos, s, line) < ({pos:UInt64}, {s:UInt32}, {line:UInt64})
ORDER BY pos DESC, s DESC, line DESC
LIMIT {limit:UInt32}
