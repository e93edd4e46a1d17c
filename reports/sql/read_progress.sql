-- Reads the position up to which the rollups pulled with every step contain each stream.
SELECT s, min(pos) AS pos FROM (
    SELECT link AS s, max(pos) AS pos FROM rollup_minute WHERE account = 0 GROUP BY link
    UNION ALL
    SELECT link AS s, max(pos) AS pos FROM rollup_quarter WHERE account = 0 GROUP BY link
    UNION ALL
    SELECT link AS s, max(pos) AS pos FROM rollup_dimension WHERE account = 0 GROUP BY link
)
GROUP BY s
HAVING count() = 3
