-- Unique clicks of days by what the day rollup holds whole, basis 3: a number in place of a state.
SELECT
    account, bucket, campaign, affiliate, link, '' AS verdict, '' AS currency,
    toUInt8(3) AS basis, {month:UInt32} AS month, dimension, value,
    toInt64(0) AS clicks,
    arrayReduce('uniqCombined64State(16)', emptyArrayUInt64()) AS visitors,
    toInt64(0) AS conversions, toInt64(0) AS pending, toInt64(0) AS approved,
    toInt64(0) AS rejected, toInt64(0) AS revenue_minor, toInt64(0) AS commission_minor,
    toUInt64(0) AS watermark, $unbiased AS unique_clicks
FROM (
    SELECT account, bucket, campaign, affiliate, link, dimension, value,
        uniqCombined64Merge(16)(visitors) AS estimate
    FROM ($states)
    WHERE verdict IN ('human', 'duplicate') AND dimension IN ($dimensions)
    GROUP BY account, bucket, campaign, affiliate, link, dimension, value
)
