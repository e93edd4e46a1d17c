-- The audit log, a chain of rows for each account: `hash` is of the row and of the hash before it.
-- `pos` numbers the rows of all accounts, for insert tokens.
CREATE TABLE IF NOT EXISTS audit_log {on_cluster} (
    account UInt32,
    seq UInt64,
    pos UInt64,
    uid String,
    time_ms Int64,
    actor String,
    actor_name String,
    operation String,
    object String,
    changes String CODEC(ZSTD(3)),
    status UInt16,
    request_id String,
    address String,
    key_hint String,
    count UInt32,
    previous String,
    hash String,
    at DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(time_ms, 'UTC'),
    INDEX uid_known uid TYPE bloom_filter GRANULARITY 1
)
ENGINE = {merge_tree}
ORDER BY (account, seq)
{durable_once}
