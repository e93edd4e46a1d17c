-- Selects the lines rejected from a range of a stream.
SELECT DISTINCT pos, line
FROM rejects
WHERE s = {s:UInt16} AND pos >= {first:UInt64} AND pos <= {last:UInt64}
