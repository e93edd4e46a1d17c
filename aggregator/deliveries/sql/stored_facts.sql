-- Reads the facts of an account's conversions in a range of positions, whole positions only. A
-- `detached` row is half of an adjustment.
SELECT
    pos, kind, fact,
    toUnixTimestamp64Milli(time) AS time_ms,
    toUnixTimestamp64Milli(adjusted) AS adjusted_ms,
    if(kind = 'created', toString(status), 'pending') AS status,
    {columns}
FROM conversions
WHERE account = {account:UInt32}
    AND s = {s:UInt16}
    AND pos >= {start:UInt64} AND pos <= {end:UInt64}
    AND kind != 'detached'
    AND (empty({campaigns:Array(UInt32)}) OR campaign IN {campaigns:Array(UInt32)})
    AND (empty({affiliates:Array(UInt32)}) OR affiliate IN {affiliates:Array(UInt32)})
ORDER BY pos
LIMIT {count:UInt32} WITH TIES
