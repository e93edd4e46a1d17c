-- UTC days by one dimension at most, for long periods. Dimension `total` holds all events;
-- `campaign`, `affiliate` and `link` have their numbers in these columns (a link those of its
-- campaign and affiliate too), 0 elsewhere; the others are as in rollup_dimension. Markers as in
-- rollup_quarter. Small granules, for a read of one state of visitors reads all of its granule.
-- Of past days, basis 3 has unique clicks of people, as numbers: salts change by the UTC
-- day, so that they add up. Its `clicks` are those that the numbers are based on (`aggregator.rollups.day_counts`).
CREATE TABLE IF NOT EXISTS rollup_day {on_cluster} (
    account UInt32,
    dimension LowCardinality(String),
    value String,
    campaign UInt32,
    affiliate UInt32,
    link UInt32,
    time DateTime('UTC'),
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
    pos SimpleAggregateFunction(max, UInt64),
    unique_clicks SimpleAggregateFunction(sum, Int64)
)
ENGINE = {aggregating_merge_tree}
PARTITION BY month
ORDER BY (account, dimension, value, campaign, affiliate, link, time, verdict, currency, basis)
{durable_once}, index_granularity = 256
