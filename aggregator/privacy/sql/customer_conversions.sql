-- Finds the conversions of a customer in an account's live and test events.
SELECT DISTINCT conversion_id
FROM conversions
WHERE account IN {accounts:Array(UInt32)} AND kind != 'detached'
    AND ((customer_id = {customer_id:String} AND customer_id != '')
        OR (customer = {customer:String} AND customer != ''))
