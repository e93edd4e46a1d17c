-- What is stored of conversions: a primary-key read, for each is stored at its conversion's time.
SELECT {columns}, toUnixTimestamp64Milli(click_time) / 1000 AS click_time
FROM conversions
WHERE account IN {accounts:Array(UInt32)}
    AND time IN (
        SELECT fromUnixTimestamp64Milli(arrayJoin({times_ms:Array(Int64)}), 'UTC')
    )
    AND conversion_id IN {ids:Array(String)}
    AND kind != 'detached'
