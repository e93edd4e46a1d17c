-- Reads an account's clicks in a range of positions, whole positions only.
SELECT pos, {columns}
FROM clicks
WHERE account = {account:UInt32}
    AND s = {s:UInt16}
    AND pos >= {start:UInt64} AND pos <= {end:UInt64}
    AND verdict NOT IN ('head', 'prefetch')
    AND (empty({campaigns:Array(UInt32)}) OR campaign IN {campaigns:Array(UInt32)})
    AND (empty({affiliates:Array(UInt32)}) OR affiliate IN {affiliates:Array(UInt32)})
ORDER BY pos
LIMIT {count:UInt32} WITH TIES
