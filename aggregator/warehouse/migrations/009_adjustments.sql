-- Adjustments: later facts about a conversion, each a row at its conversion's time, or two where it
-- moves: kind `detached` takes it from its old place. `adjusted` is the time of the fact,
-- `rule` the version of the campaign's commission, `author` whose API key it was. `order_free`:
-- other conversions may have the same order.
ALTER TABLE conversions {on_cluster}
    ADD COLUMN IF NOT EXISTS adjustment_id String,
    ADD COLUMN IF NOT EXISTS adjusted DateTime64(3, 'UTC'),
    ADD COLUMN IF NOT EXISTS payout LowCardinality(String),
    ADD COLUMN IF NOT EXISTS rule UInt32,
    ADD COLUMN IF NOT EXISTS commission_reason LowCardinality(String),
    ADD COLUMN IF NOT EXISTS order_free Bool,
    ADD COLUMN IF NOT EXISTS author String,
    ADD COLUMN IF NOT EXISTS note String
