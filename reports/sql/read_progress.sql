-- How far the last rollup to be pulled holds each stream.
SELECT link AS s, max(pos) AS pos FROM rollup_dimension WHERE account = 0 GROUP BY link
