-- Minutes of the last two days, for live charts. Pulled from raw; `month` is the ingest month of the pulled
-- rows. A marker row (account 0, link = stream) carries the position pulled up to.
-- basis: 0 clicks, 1 conversions at their own time, 2 conversions at their click's time.
CREATE TABLE IF NOT EXISTS rollup_minute {on_cluster} (
    account UInt32,
    time DateTime('UTC'),
    campaign UInt32,
    affiliate UInt32,
    link UInt32,
    verdict LowCardinality(String),
    currency LowCardinality(String),
    basis UInt8,
    month UInt32,
    clicks SimpleAggregateFunction(sum, Int64),
    visitors AggregateFunction(uniqCombined64(16), UInt64),
    conversions SimpleAggregateFunction(sum, Int64),
    pending SimpleAggregateFunction(sum, Int64),
    approved SimpleAggregateFunction(sum, Int64),
    rejected SimpleAggregateFunction(sum, Int64),
    revenue_minor SimpleAggregateFunction(sum, Int64),
    commission_minor SimpleAggregateFunction(sum, Int64),
    pos SimpleAggregateFunction(max, UInt64)
)
ENGINE = {aggregating_merge_tree}
PARTITION BY month
ORDER BY (account, time, campaign, affiliate, link, verdict, currency, basis)
TTL time + INTERVAL {minute_rollup_hours} HOUR DELETE WHERE account != 0
{durable_once}
