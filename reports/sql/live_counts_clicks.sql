-- Counts clicks stored between two positions of each stream, by account and the second of their time.
SELECT r.account AS account, toUnixTimestamp(r.time) AS second,
    countIf(r.verdict IN ('human', 'duplicate')) AS clicks,
    countIf(r.verdict NOT IN ('human', 'duplicate')) AS others
FROM clicks AS r
WHERE r.account IN {accounts:Array(UInt32)}
    AND ({affiliate:UInt32} = 0 OR r.affiliate = {affiliate:UInt32})
    AND $range
GROUP BY account, second
