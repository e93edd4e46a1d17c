-- Counts the raw clicks below a position that a rollup has not pulled yet, of any stream.
SELECT count() AS number
FROM clicks AS raw
LEFT JOIN (
    SELECT link AS stream_number, max(pos) AS end_position
    FROM $rollup WHERE account = 0 GROUP BY link
) AS pulled ON toUInt32(raw.s) = pulled.stream_number
WHERE raw.account != 0 AND raw.pos < {end_position:UInt64} AND raw.pos > pulled.end_position
