-- Computes cells of conversions, each row twice: basis 1 at its own time, basis 2 at its click's time
-- (its own if it has no click). Sums of signed columns, so that later facts correct earlier ones.
SELECT
    account, $bucket AS bucket, $campaign AS campaign, $affiliate AS affiliate, $link AS link,
    verdict, currency, basis,
    {month:UInt32} AS month, $dimension AS dimension, $value AS value,
    toInt64(0) AS clicks,
    arrayReduce('uniqCombined64State(16)', emptyArrayUInt64()) AS visitors,
    toInt64(sum(raw.conversions)) AS conversions,
    toInt64(sum(raw.pending)) AS pending,
    toInt64(sum(raw.approved)) AS approved,
    toInt64(sum(raw.rejected)) AS rejected,
    toInt64(sum(raw.order_value_minor)) AS revenue_minor,
    toInt64(sum(raw.commission_minor)) AS commission_minor,
    toInt64(sum(raw.unverified)) AS unverified,
    toInt64(sum(raw.clawback_minor)) AS clawback_minor,
    toUInt64(0) AS watermark
FROM conversions AS raw
ARRAY JOIN [toUInt8(1), toUInt8(2)] AS basis
$pairs
WHERE account != 0 AND $range
GROUP BY account, bucket, campaign, affiliate, link, verdict, currency, basis,
    dimension, value
