-- Computes cells of clicks by one dimension more, basis 0, from the raw rows of a range. Nearly every
-- click has the dense dimensions and the set of its empty sparse ones, so each is a grouping of its
-- own: joining a row with an array of them all and grouping once took 1.4 times as long.
SELECT
    account, bucket, campaign, affiliate, link, verdict, '' AS currency,
    toUInt8(0) AS basis, {month:UInt32} AS month, dimension, value,
    clicks, visitors,
    toInt64(0) AS conversions, toInt64(0) AS pending, toInt64(0) AS approved,
    toInt64(0) AS rejected, toInt64(0) AS revenue_minor, toInt64(0) AS commission_minor,
    toInt64(0) AS unverified, toInt64(0) AS clawback_minor,
    toUInt64(0) AS watermark
FROM (
    SELECT
        account, bucket, campaign, affiliate, link, verdict,
        $grouped_dimension AS dimension, $grouped_value AS value,
        toInt64(count()) AS clicks,
        uniqCombined64State(16)(visitor) AS visitors
    FROM (
        SELECT
            account, $bucket AS bucket, campaign, affiliate, link, verdict, visitor,
            $dense, $empty AS $empty_name
        FROM clicks AS raw
        WHERE account != 0 AND $range
    )
    GROUP BY GROUPING SETS ($grouping_sets)
    UNION ALL
    SELECT
        account, $bucket AS bucket, $campaign AS campaign, $affiliate AS affiliate, $link AS link,
        verdict, pair.1 AS dimension, pair.2 AS value,
        toInt64(count()) AS clicks,
        uniqCombined64State(16)(visitor) AS visitors
    FROM clicks AS raw
    ARRAY JOIN $sparse_pairs AS pair
    WHERE account != 0 AND $range
    GROUP BY account, bucket, campaign, affiliate, link, verdict, dimension, value
)
