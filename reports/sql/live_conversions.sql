-- Reads the last conversions and adjustments of each account between two positions of each stream.
SELECT r.account AS account, r.pos AS pos, r.conversion_id AS id, r.kind AS kind,
    toUnixTimestamp64Milli(if(r.kind = 'created', r.time, r.adjusted)) AS time_ms,
    r.campaign AS campaign, r.affiliate AS affiliate, r.link AS link, r.event AS event,
    r.order_id AS order_id, r.status AS status, r.attribution AS attribution,
    CAST(NOT r.unverified_now AS Bool) AS verified,
    r.currency AS currency, r.order_value_minor AS order_value_minor,
    r.commission_minor AS commission_minor, r.country AS country
FROM conversions AS r
WHERE r.account IN {accounts:Array(UInt32)}
    AND ({affiliate:UInt32} = 0 OR r.affiliate = {affiliate:UInt32})
    AND r.kind != 'detached' AND $range
ORDER BY pos DESC, id DESC
LIMIT {limit:UInt32} BY account
