-- Selects the ingest months of a rollup and of the raw rows it is pulled from.
SELECT DISTINCT month AS number FROM (
    SELECT DISTINCT month FROM $rollup WHERE account != 0
    UNION ALL
    SELECT DISTINCT $month AS month FROM $source AS raw WHERE account != 0
) ORDER BY number
