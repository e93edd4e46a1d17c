SELECT account, event, order_id, conversion_id
FROM conversions
WHERE account IN {accounts:Array(UInt32)}
    AND kind = 'created'
    AND (order_id IN {orders:Array(String)} AND order_id != '' AND order_free = 0
        OR conversion_id IN {ids:Array(String)})
