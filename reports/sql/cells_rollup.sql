-- Cells as they stand in a rollup. Markers belong to account 0, so they are never among them.
SELECT $keys r.verdict AS verdict, r.currency AS currency, $sums
FROM $table AS r
$join
WHERE r.account = {account:UInt32}
    AND r.basis IN $bases
    AND $conditions
