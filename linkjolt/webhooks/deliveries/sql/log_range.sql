-- Reads the next deliveries of a range of an endpoint's log behind a place, in the order of their
-- events, each once; without those that were finished after an instant, or all but one.
SELECT {columns}
FROM deliveries
WHERE webhook = {webhook:UInt32}
    AND event_at >= fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC')
    AND event_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    AND (event_at, place, webhook_id) > (
        fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC'), {after_place:UInt64}, {after_id:String}
    )
    AND ({only:String} = '' OR webhook_id = {only:String})
ORDER BY event_at, place, webhook_id, version DESC
LIMIT 1 BY event_at, place, webhook_id
LIMIT {count:UInt32}
