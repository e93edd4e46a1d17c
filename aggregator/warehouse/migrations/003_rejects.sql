-- Accepted lines that could not be stored, keyed by their place: writing one again changes nothing.
CREATE TABLE IF NOT EXISTS rejects {on_cluster} (
    s UInt16,
    pos UInt64,
    line UInt32,
    account UInt32,
    reason LowCardinality(String),
    message String,
    body String
)
ENGINE = {replacing_merge_tree}
ORDER BY (s, pos, line)
{durable}
