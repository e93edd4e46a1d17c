-- Sums clicks from the events themselves. An event is stored after its time, so positions more than a
-- day older than the report (clocks differ) hold none of it: whole months are skipped.
SELECT $keys toString(r.verdict) AS verdict, '' AS currency, $sums
FROM clicks AS r
WHERE r.account = {account:UInt32}
    AND r.time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
    AND r.time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
    AND r.pos >= bitShiftLeft(toUInt64(greatest({start_ms:Int64} - 86400000, 0)), 20)
    AND $conditions
GROUP BY $group verdict
