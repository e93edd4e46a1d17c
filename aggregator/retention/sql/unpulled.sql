-- Counts the raw clicks below a position that a rollup has not pulled yet.
SELECT count() AS number FROM clicks AS raw
WHERE account != 0 AND raw.pos < {end_position:UInt64}
    AND raw.pos > (
        SELECT max(pos) FROM $rollup WHERE account = 0 AND link = {s:UInt16}
    )
    AND s = {s:UInt16}
