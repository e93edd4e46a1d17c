-- Reads the position up to which each stream is stored: every batch has a marker with its last one.
SELECT s, max(pos) AS pos FROM clicks WHERE account = 0 GROUP BY s
UNION ALL
SELECT s, max(pos) AS pos FROM conversions WHERE account = 0 GROUP BY s
