-- Selects the position up to which a rollup holds a stream; 0 without a marker.
SELECT max(pos) AS number FROM $rollup WHERE account = 0 AND link = {s:UInt16}
