-- Sums conversions from the events themselves. Positions as in raw_clicks.
SELECT $keys toString(r.verdict) AS verdict, toString(r.currency) AS currency, $sums
FROM conversions AS r
WHERE r.account = {account:UInt32}
    AND $time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
    AND $time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
    AND r.pos >= bitShiftLeft(toUInt64(greatest({start_ms:Int64} - 86400000, 0)), 20)
    AND $conditions
GROUP BY $group verdict, currency
