-- Quarters of an hour by one dimension more. Columns and markers as in rollup_quarter.
-- Dimensions that most clicks leave empty (sub1..sub10, source_id and their like) have rows only
-- for values; dimension `empty` counts the rest, its value the number whose bit n is set where the
-- n-th of them (order of `linkjolt.dimensions.SPARSE`) is empty.
CREATE TABLE IF NOT EXISTS rollup_dimension {on_cluster} (
    account UInt32,
    dimension LowCardinality(String),
    time DateTime('UTC'),
    value String,
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
ORDER BY (account, dimension, time, value, campaign, affiliate, link, verdict, currency, basis)
{durable_once}
