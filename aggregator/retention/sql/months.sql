-- Selects the ingest months before a position that have raw clicks.
SELECT DISTINCT
    toYYYYMM(fromUnixTimestamp64Milli(toInt64(bitShiftRight(raw.pos, 20)), 'UTC')) AS number
FROM clicks AS raw
WHERE account != 0 AND raw.pos < {end_position:UInt64}
ORDER BY number
