SELECT uniqExact(webhook_id) AS n
FROM deliveries
WHERE webhook = {webhook:UInt32}
    AND event_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND event_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    AND webhook_id NOT IN {without:Array(String)}
