-- Selects the events stored from a range of a stream.
SELECT {id} AS id, pos
FROM {table:Identifier}
WHERE account != 0 AND s = {s:UInt16} AND pos >= {first:UInt64} AND pos <= {last:UInt64}
