-- Selects the test events purged from a range of a stream.
SELECT DISTINCT body AS id, pos
FROM rejects
WHERE s = {s:UInt16} AND pos >= {first:UInt64} AND pos <= {last:UInt64} AND reason = 'purged'
