-- Rows of a report: cells of one source summed by the report's dimensions and buckets; before them,
-- where it is wanted, the row of their totals.
SELECT * FROM (
    SELECT $columns
    FROM ($cells) AS c
    $group
)
ORDER BY $order
LIMIT {limit:UInt32} OFFSET {offset:UInt32}
$settings
