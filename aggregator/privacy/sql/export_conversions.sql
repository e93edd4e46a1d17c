-- Reads what is stored of some conversions and their clicks.
SELECT conversion_id, formatDateTime(time, '%FT%TZ', 'UTC') AS time, event, order_id,
    order_value_minor, currency, customer_id, coupon_code, items, metadata,
    [adv1, adv2, adv3, adv4, adv5] AS advs, click_id, country, language, device, os, browser,
    referrer_host
FROM conversions
WHERE account IN {accounts:Array(UInt32)} AND kind = 'created'
    AND conversion_id IN {ids:Array(String)}
ORDER BY time
