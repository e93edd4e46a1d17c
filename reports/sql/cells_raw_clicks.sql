-- Cells of clicks, from the events themselves. An event is stored after its time, so positions more
-- than a day older than the report (clocks differ) hold none of it: whole months are skipped.
SELECT
    $bucket AS bucket, $d0 AS d0, $d1 AS d1, $d2 AS d2,
    toString(r.verdict) AS verdict, '' AS currency,
    toInt64(count()) AS clicks, $visitors AS visitors,
    toInt64(0) AS conversions, toInt64(0) AS pending, toInt64(0) AS approved,
    toInt64(0) AS rejected, toInt64(0) AS revenue_minor, toInt64(0) AS commission_minor
FROM clicks AS r
WHERE r.account = {account:UInt32}
    AND r.time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
    AND r.time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
    AND r.pos >= bitShiftLeft(toUInt64(greatest({start_ms:Int64} - 86400000, 0)), 20)
    AND $conditions
GROUP BY bucket, d0, d1, d2, verdict
