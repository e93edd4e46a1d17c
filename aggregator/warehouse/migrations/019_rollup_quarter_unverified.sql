-- Sums of the columns that 017 added to conversions.
ALTER TABLE rollup_quarter {on_cluster}
    ADD COLUMN IF NOT EXISTS unverified SimpleAggregateFunction(sum, Int64),
    ADD COLUMN IF NOT EXISTS clawback_minor SimpleAggregateFunction(sum, Int64)
