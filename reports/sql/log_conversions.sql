-- Lists conversions and adjustments, each at its own time, the newest first. `detached` rows only
-- cancel a moved conversion at its former place.
SELECT
    if(r.kind = 'created', r.conversion_id, concat(r.conversion_id, ':', r.adjustment_id)) AS id,
    toUnixTimestamp64Milli(if(r.kind = 'created', r.time, r.adjusted)) AS time_ms,
    r.conversion_id AS conversion_id, r.kind AS kind, r.adjustment_id AS adjustment_id,
    r.campaign AS campaign, r.affiliate AS affiliate, r.link AS link,
    r.event AS event, r.order_id AS order_id, r.status AS status, r.currency AS currency,
    r.order_value_minor AS order_value_minor, r.commission_minor AS commission_minor,
    r.attribution AS attribution, r.reason AS reason, r.commission_reason AS commission_reason,
    r.click_id AS click_id, r.given_click_id AS given_click_id,
    toUnixTimestamp64Milli(r.click_time) AS click_time_ms,
    r.verdict AS verdict, r.customer_id AS customer_id, r.coupon_code AS coupon_code,
    CAST(NOT r.unverified_now AS Bool) AS verified, r.clawback_minor AS clawback_minor, r.rate AS rate,
    r.notes AS notes, r.customer AS customer, [r.adv1, r.adv2, r.adv3, r.adv4, r.adv5] AS advs,
    r.items AS items, r.metadata AS metadata, r.author AS author, r.note AS note,
    arrayFilter(pair -> pair.2 != '', $recorded) AS recorded
FROM conversions AS r
WHERE r.account = {account:UInt32}
    AND r.kind != 'detached'
    AND time_ms >= {start_ms:Int64} AND time_ms < {end_ms:Int64}
    AND r.pos >= bitShiftLeft(toUInt64(greatest({start_ms:Int64} - 86400000, 0)), 20)
    AND (time_ms, id) < ({before_ms:Int64}, {before_id:String})
    AND ({click_id:String} = '' OR r.click_id = {click_id:String}
        OR r.given_click_id = {click_id:String})
    AND ({order_id:String} = '' OR r.order_id = {order_id:String})
    AND ({conversion_id:String} = '' OR r.conversion_id = {conversion_id:String})
    AND ({link:UInt32} = 0 OR r.link = {link:UInt32})
    AND ({affiliate:UInt32} = 0 OR r.affiliate = {affiliate:UInt32})
    AND ({campaign:UInt32} = 0 OR r.campaign = {campaign:UInt32})
    AND ({verdict:String} = '' OR r.verdict = {verdict:String})
ORDER BY time_ms DESC, id DESC
LIMIT {limit:UInt32}
SETTINGS max_execution_time = $seconds, timeout_overflow_mode = 'break'
