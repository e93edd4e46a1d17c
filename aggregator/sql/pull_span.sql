-- The first so many rows after a position: where they begin and end, and how many there are.
SELECT min(pos) AS first, max(pos) AS last, count() AS rows FROM (
    SELECT pos FROM $source
    WHERE s = {s:UInt16} AND pos > {after:UInt64} AND pos <= {base:UInt64}
    ORDER BY pos LIMIT {rows:UInt64}
)
