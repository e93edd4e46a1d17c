SELECT {columns}
FROM deliveries
WHERE webhook = {webhook:UInt32} AND webhook_id = {webhook_id:String}
ORDER BY version DESC
LIMIT 1
