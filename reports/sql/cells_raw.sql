-- Cells computed from the events themselves. An event is stored after its time, so positions more
-- than a day older than the report (clocks differ) hold none of it: whole months are skipped.
SELECT
    $click_bucket AS bucket, $click_d0 AS d0, $click_d1 AS d1, $click_d2 AS d2,
    toString(r.verdict) AS verdict, '' AS currency,
    toInt64(count()) AS clicks, $visitors AS visitors,
    toInt64(0) AS conversions, toInt64(0) AS pending, toInt64(0) AS approved,
    toInt64(0) AS rejected, toInt64(0) AS revenue_minor, toInt64(0) AS commission_minor
FROM clicks AS r
WHERE r.account = {account:UInt32}
    AND r.time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
    AND r.time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
    AND r.pos >= bitShiftLeft(toUInt64(greatest({start_ms:Int64} - 86400000, 0)), 20)
    AND $click_conditions
GROUP BY bucket, d0, d1, d2, verdict
UNION ALL
SELECT
    $conversion_bucket AS bucket, $conversion_d0 AS d0, $conversion_d1 AS d1,
    $conversion_d2 AS d2, toString(r.verdict) AS verdict, toString(r.currency) AS currency,
    toInt64(0) AS clicks, $no_visitors AS visitors,
    toInt64(sum(r.conversions)) AS conversions, toInt64(sum(r.pending)) AS pending,
    toInt64(sum(r.approved)) AS approved, toInt64(sum(r.rejected)) AS rejected,
    toInt64(sum(r.order_value_minor)) AS revenue_minor,
    toInt64(sum(r.commission_minor)) AS commission_minor
FROM conversions AS r
WHERE r.account = {account:UInt32}
    AND $conversion_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
    AND $conversion_time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
    AND r.pos >= bitShiftLeft(toUInt64(greatest({start_ms:Int64} - 86400000, 0)), 20)
    AND $conversion_conditions
GROUP BY bucket, d0, d1, d2, verdict, currency
