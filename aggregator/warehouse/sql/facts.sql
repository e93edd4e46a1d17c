-- Selects the stored rows of conversions: a primary-key read, for all are at the conversion's time.
SELECT {columns}, toUnixTimestamp64Milli(click_time) / 1000 AS click_time
FROM conversions
WHERE account IN {accounts:Array(UInt32)}
    AND time IN (
        SELECT fromUnixTimestamp64Milli(arrayJoin({times_ms:Array(Int64)}), 'UTC')
    )
    AND conversion_id IN {ids:Array(String)}
    AND kind != 'detached'
