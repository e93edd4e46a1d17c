-- Cells of conversions, from their facts. Positions as in cells_raw_clicks.
SELECT
    $bucket AS bucket, $d0 AS d0, $d1 AS d1,
    $d2 AS d2, toString(r.verdict) AS verdict, toString(r.currency) AS currency,
    toInt64(0) AS clicks, $visitors AS visitors,
    toInt64(sum(r.conversions)) AS conversions, toInt64(sum(r.pending)) AS pending,
    toInt64(sum(r.approved)) AS approved, toInt64(sum(r.rejected)) AS rejected,
    toInt64(sum(r.order_value_minor)) AS revenue_minor,
    toInt64(sum(r.commission_minor)) AS commission_minor
FROM conversions AS r
WHERE r.account = {account:UInt32}
    AND $time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
    AND $time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
    AND r.pos >= bitShiftLeft(toUInt64(greatest({start_ms:Int64} - 86400000, 0)), 20)
    AND $conditions
GROUP BY bucket, d0, d1, d2, verdict, currency
