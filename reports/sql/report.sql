-- Sums the rows of a report by its dimensions and intervals, with a row of totals first if selected;
-- or the first rows by each of several dimensions.
SELECT $columns
FROM $source
$group
ORDER BY $order
$limit
$settings
