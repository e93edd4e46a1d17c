-- Selects rows of a rollup. Markers belong to account 0, so no report contains them.
$table AS r
$join
WHERE r.account = {account:UInt32}
    AND r.basis IN $bases
    AND $conditions
