-- Rows of a report, summed by its dimensions and buckets; before them, where it is wanted, the row of
-- their totals. Or the first rows of several dimensions.
SELECT $columns
FROM $source
$group
ORDER BY $order
$limit
$settings
