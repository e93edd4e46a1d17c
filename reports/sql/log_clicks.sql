-- Lists recorded requests with all their fields, the newest first. An event is stored after its time,
-- so positions more than a day older than the period hold none of it.
SELECT
    r.click_id AS id,
    toUnixTimestamp64Milli(r.time) AS time_ms,
    r.campaign AS campaign, r.affiliate AS affiliate, r.link AS link,
    r.verdict AS verdict, r.reason AS reason, r.ruleset AS ruleset,
    r.ip AS ip, r.country AS country, r.region AS region,
    r.language AS language, r.device AS device, r.os AS os, r.browser AS browser,
    r.user_agent AS user_agent, r.referrer AS referrer,
    arrayFilter(pair -> pair.2 != '', $recorded) AS recorded,
    r.params AS params
FROM clicks AS r
WHERE r.account = {account:UInt32}
    AND r.time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
    AND r.time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
    AND r.pos >= bitShiftLeft(toUInt64(greatest({start_ms:Int64} - 86400000, 0)), 20)
    AND (toUnixTimestamp64Milli(r.time), r.click_id) < ({before_ms:Int64}, {before_id:String})
    AND ({click_id:String} = '' OR r.click_id = {click_id:String})
    AND ({link:UInt32} = 0 OR r.link = {link:UInt32})
    AND ({affiliate:UInt32} = 0 OR r.affiliate = {affiliate:UInt32})
    AND ({campaign:UInt32} = 0 OR r.campaign = {campaign:UInt32})
    AND ({verdict:String} = '' OR r.verdict = {verdict:String})
ORDER BY time_ms DESC, id DESC
LIMIT {limit:UInt32}
SETTINGS max_execution_time = $seconds, timeout_overflow_mode = 'break'
