-- Selects the last positions of a stream's rows and of its markers.
SELECT max(pos) AS rows_end, maxIf(pos, account = 0) AS marked_end
FROM {table:Identifier}
WHERE s = {s:UInt16}
