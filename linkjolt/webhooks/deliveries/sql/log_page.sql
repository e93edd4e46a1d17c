-- Reads a page of an endpoint's log before a place, the newest events first, each delivery once.
SELECT {columns}
FROM deliveries
WHERE webhook = {webhook:UInt32}
    AND event_at <= fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC')
    AND (event_at, place, webhook_id) < (
        fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC'), {before_place:UInt64}, {before_id:String}
    )
ORDER BY event_at DESC, place DESC, webhook_id DESC, version DESC
LIMIT 1 BY event_at, place, webhook_id
LIMIT {count:UInt32}
