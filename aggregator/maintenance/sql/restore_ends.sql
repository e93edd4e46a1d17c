-- Where a stream's rows end, and where its markers say that it is stored to.
SELECT max(pos) AS rows_end, maxIf(pos, account = 0) AS marked_end
FROM {table:Identifier}
WHERE s = {s:UInt16}
