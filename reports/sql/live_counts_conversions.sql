-- Counts conversions stored between two positions of each stream, by account and second of time.
SELECT r.account AS account, toUnixTimestamp(r.time) AS second, count() AS conversions
FROM conversions AS r
WHERE r.account IN {accounts:Array(UInt32)}
    AND ({affiliate:UInt32} = 0 OR r.affiliate = {affiliate:UInt32})
    AND r.kind = 'created' AND NOT r.unverified_now
    AND $range
GROUP BY account, second
