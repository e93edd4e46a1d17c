-- Counts the lines that could not be stored, of a customer.
SELECT count() AS n
FROM rejects
WHERE account IN {accounts:Array(UInt32)}
    AND ((JSONExtractString(body, 'customer_id') = {customer_id:String} AND {customer_id:String} != '')
        OR (JSONExtractString(body, 'customer') = {customer:String} AND {customer:String} != ''))
