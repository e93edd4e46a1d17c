-- How far each stream is stored: every batch leaves a marker with its last position.
SELECT s, max(pos) AS pos FROM clicks WHERE account = 0 GROUP BY s
UNION ALL
SELECT s, max(pos) AS pos FROM conversions WHERE account = 0 GROUP BY s
