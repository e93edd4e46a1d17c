-- Reads the facts of an account's conversions in a range of positions, whole positions only. A
-- `detached` row is half of an adjustment; an adjustment concerns its former campaign, too.
SELECT
    pos, kind, fact,
    toUnixTimestamp64Milli(time) AS time_ms,
    toUnixTimestamp64Milli(adjusted) AS adjusted_ms,
    conversion_id, account, event, currency, order_value_minor, commission_minor, status, order_id,
    campaign, affiliate, click_id, unverified_now
FROM conversions
WHERE account = {account:UInt32}
    AND s = {s:UInt16}
    AND pos >= {start:UInt64} AND pos <= {end:UInt64}
    AND kind != 'detached'
    AND (
        kind != 'created'
        OR (empty({campaigns:Array(UInt32)}) OR campaign IN {campaigns:Array(UInt32)})
        AND (empty({affiliates:Array(UInt32)}) OR affiliate IN {affiliates:Array(UInt32)})
    )
ORDER BY pos
LIMIT {count:UInt32} WITH TIES
