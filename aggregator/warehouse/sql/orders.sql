-- Selects the conversions of orders, and those of these ids; also the facts by which a conversion
-- lost its order to another one.
SELECT account, event, order_id, conversion_id, order_scope, campaign,
    if(click_id = '', given_click_id, click_id) AS click_id, CAST(kind = 'superseded' AS Bool) AS superseded
FROM conversions
WHERE account IN {accounts:Array(UInt32)}
    AND kind IN ('created', 'superseded')
    AND (order_id IN {orders:Array(String)} AND order_id != '' AND order_free = 0
        OR conversion_id IN {ids:Array(String)})
