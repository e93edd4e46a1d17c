-- Empties the lines that could not be stored, of a customer; they still count as rejects.
ALTER TABLE rejects UPDATE body = '', message = ''
WHERE account IN {accounts:Array(UInt32)}
    AND ((JSONExtractString(body, 'customer_id') = {customer_id:String} AND {customer_id:String} != '')
        OR (JSONExtractString(body, 'customer') = {customer:String} AND {customer:String} != ''))
SETTINGS mutations_sync = 2
