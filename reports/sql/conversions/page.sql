-- Lists conversions in one order, from a place in it on.
SELECT *
FROM ($conversions)
WHERE ($key, conversion_id) $beyond ({after:Int64}, {after_id:String})
ORDER BY $key $direction, conversion_id $direction
LIMIT {limit:UInt32}
SETTINGS max_execution_time = {raw_max_seconds:Float64}
