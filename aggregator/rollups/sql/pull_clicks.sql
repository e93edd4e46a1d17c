-- Computes cells of clicks, basis 0: one row a key, from the raw rows of a range.
SELECT
    account, $bucket AS bucket, campaign, affiliate, link, verdict, '' AS currency,
    toUInt8(0) AS basis, {month:UInt32} AS month, '' AS dimension, '' AS value,
    toInt64(count()) AS clicks,
    uniqCombined64State(16)(visitor) AS visitors,
    toInt64(0) AS conversions, toInt64(0) AS pending, toInt64(0) AS approved,
    toInt64(0) AS rejected, toInt64(0) AS revenue_minor, toInt64(0) AS commission_minor,
    toInt64(0) AS unverified, toInt64(0) AS clawback_minor,
    toUInt64(0) AS watermark
FROM clicks AS raw
WHERE account != 0 AND $range
GROUP BY account, bucket, campaign, affiliate, link, verdict
