-- The first ingest month (YYYYMM) whose raw clicks are kept: those of earlier ones are deleted.
CREATE TABLE IF NOT EXISTS raw_retention {on_cluster} (
    month UInt32,
    at DateTime DEFAULT now()
)
ENGINE = {merge_tree}
ORDER BY month
{durable}
