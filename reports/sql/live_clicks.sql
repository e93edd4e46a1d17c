-- Reads the last clicks of each account between two positions of each stream.
SELECT r.account AS account, r.pos AS pos, r.click_id AS id,
    toUnixTimestamp64Milli(r.time) AS time_ms,
    r.campaign AS campaign, r.affiliate AS affiliate, r.link AS link, r.verdict AS verdict,
    r.reason AS reason, r.country AS country, r.device AS device, r.os AS os,
    r.browser AS browser, r.referrer_host AS referrer_host
FROM clicks AS r
WHERE r.account IN {accounts:Array(UInt32)}
    AND ({affiliate:UInt32} = 0 OR r.affiliate = {affiliate:UInt32})
    AND $range
ORDER BY pos DESC, id DESC
LIMIT {limit:UInt32} BY account
