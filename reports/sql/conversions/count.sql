-- Counts the conversions of all pages of a list.
SELECT count() AS total
FROM ($conversions)
SETTINGS max_execution_time = {raw_max_seconds:Float64}
