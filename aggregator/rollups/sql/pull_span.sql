-- Selects the first and last position of a limited number of rows after a position, their number, and
-- the UTC second of the earliest event.
SELECT min(pos) AS first, max(pos) AS last, count() AS rows,
    toUnixTimestamp(min(time)) AS earliest
FROM (
    SELECT pos, time FROM $source
    WHERE s = {s:UInt16} AND pos > {after:UInt64} AND pos <= {end_position:UInt64}
    ORDER BY pos LIMIT {rows:UInt64}
)
