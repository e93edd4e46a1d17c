-- The log of finished deliveries of webhooks, each with all its attempts; another round replaces the
-- one before. `version` is when it was finished (ms). A click's body is made again from `clicks`.
-- The aggregator sets the TTL by its setting.
CREATE TABLE IF NOT EXISTS deliveries {on_cluster} (
    webhook UInt32,
    event_at DateTime64(3, 'UTC'),
    place UInt64,
    webhook_id String,
    account UInt32,
    event String,
    state String,
    round UInt32,
    attempt UInt32,
    click_id String,
    body String CODEC(ZSTD(3)),
    tries String CODEC(ZSTD(3)),
    version UInt64,
    INDEX id_known webhook_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = {replacing_merge_tree_by_version}
PARTITION BY toYYYYMM(event_at)
ORDER BY (webhook, event_at, place, webhook_id)
TTL toDateTime(intDiv(version, 1000), 'UTC') + toIntervalDay(30)
{durable}, index_granularity = 1024
;
-- The line of an adjustment as it was accepted, for its events hold what its row does not. Empty for
-- conversions, and for adjustments stored before.
ALTER TABLE conversions {on_cluster} ADD COLUMN IF NOT EXISTS fact String CODEC(ZSTD(3))
