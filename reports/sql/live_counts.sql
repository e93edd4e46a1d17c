-- Events stored between two positions of each stream, by account and the second of their time.
SELECT account, second, sum(clicks) AS clicks, sum(others) AS others,
    sum(conversions) AS conversions
FROM (
    SELECT r.account AS account, toUnixTimestamp(r.time) AS second,
        toInt64(countIf(r.verdict IN ('human', 'duplicate'))) AS clicks,
        toInt64(countIf(r.verdict NOT IN ('human', 'duplicate'))) AS others,
        toInt64(0) AS conversions
    FROM clicks AS r
    WHERE r.account IN {accounts:Array(UInt32)} AND $range
    GROUP BY account, second
    UNION ALL
    SELECT r.account AS account, toUnixTimestamp(r.time) AS second,
        toInt64(0) AS clicks, toInt64(0) AS others, toInt64(count()) AS conversions
    FROM conversions AS r
    WHERE r.account IN {accounts:Array(UInt32)} AND r.kind = 'created' AND $range
    GROUP BY account, second
)
GROUP BY account, second
ORDER BY account, second
