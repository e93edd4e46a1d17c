SELECT {columns}
FROM clicks
WHERE account IN {accounts:Array(UInt32)}
    AND link IN {links:Array(UInt32)}
    AND time IN (
        SELECT fromUnixTimestamp64Milli(arrayJoin({times_ms:Array(Int64)}), 'UTC')
    )
    AND click_id IN {ids:Array(String)}
