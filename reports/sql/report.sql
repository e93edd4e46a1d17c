-- Rows of a report: cells of one source summed by the report's dimensions and buckets; before them,
-- where it is wanted, the row of their totals.
SELECT * FROM (
    SELECT
        $keys, $total AS total,
        sumIf(c.clicks, $counted) AS clicks,
        $unique_clicks AS unique_clicks,
        sumIf(c.clicks, c.verdict = 'bot') AS bot_clicks,
        sumIf(c.clicks, c.verdict = 'duplicate') AS duplicate_clicks,
        sum(c.conversions) AS conversions,
        sum(c.pending) AS pending,
        sum(c.approved) AS approved,
        sum(c.rejected) AS rejected,
        sum(c.revenue_minor) AS revenue_minor,
        sum(c.commission_minor) AS commission_minor,
        arraySort(groupUniqArrayIf(toString(c.currency), c.currency != '')) AS currencies
    FROM ($cells) AS c
    $group
)
ORDER BY total DESC, $order
LIMIT {limit:UInt32} OFFSET {offset:UInt32}
$settings
