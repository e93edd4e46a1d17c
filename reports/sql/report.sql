-- Rows of a report: cells of one source summed by the report's dimensions and buckets; before them,
-- where it is wanted, the row of their totals. Or the first rows of several dimensions.
SELECT * FROM (
    SELECT $columns
    FROM ($cells) AS c
    $group
)
ORDER BY $order
$limit
$settings
