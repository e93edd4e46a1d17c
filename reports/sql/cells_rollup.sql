-- Cells as they stand in a rollup. Markers belong to account 0, so they are never among them.
SELECT
    $bucket AS bucket, $d0 AS d0, $d1 AS d1, $d2 AS d2, r.verdict AS verdict,
    r.currency AS currency, r.clicks AS clicks, $visitors AS visitors,
    r.conversions AS conversions, r.pending AS pending, r.approved AS approved,
    r.rejected AS rejected, r.revenue_minor AS revenue_minor,
    r.commission_minor AS commission_minor
FROM $table AS r
WHERE r.account = {account:UInt32}
    AND r.basis IN $bases
    AND $conditions
