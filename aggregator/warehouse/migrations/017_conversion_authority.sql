-- `gross_change_minor`: the fact's change of the order value before refunds. `unverified`, `clawback_minor`:
-- signed effects, like the other counts and sums: of conversions that nobody vouches for yet, and of
-- commission that was paid and is owed back. `unverified_now`: unverified after the fact. `hand`: by
-- whose authority it was made. `order_scope`: among which conversions its order id is unique.
-- `notes`: words joined by commas. `rate`: by which the commission's amounts were converted.
ALTER TABLE conversions {on_cluster}
    ADD COLUMN IF NOT EXISTS gross_change_minor Int64
        DEFAULT if(kind IN ('created', 'restated'), order_value_minor, 0),
    ADD COLUMN IF NOT EXISTS unverified Int8,
    ADD COLUMN IF NOT EXISTS clawback_minor Int64,
    ADD COLUMN IF NOT EXISTS unverified_now Bool,
    ADD COLUMN IF NOT EXISTS hand LowCardinality(String),
    ADD COLUMN IF NOT EXISTS order_scope LowCardinality(String),
    ADD COLUMN IF NOT EXISTS notes String,
    ADD COLUMN IF NOT EXISTS rate String
;
-- Their sums.
ALTER TABLE rollup_minute {on_cluster}
    ADD COLUMN IF NOT EXISTS unverified SimpleAggregateFunction(sum, Int64),
    ADD COLUMN IF NOT EXISTS clawback_minor SimpleAggregateFunction(sum, Int64)
;
ALTER TABLE rollup_quarter {on_cluster}
    ADD COLUMN IF NOT EXISTS unverified SimpleAggregateFunction(sum, Int64),
    ADD COLUMN IF NOT EXISTS clawback_minor SimpleAggregateFunction(sum, Int64)
;
ALTER TABLE rollup_dimension {on_cluster}
    ADD COLUMN IF NOT EXISTS unverified SimpleAggregateFunction(sum, Int64),
    ADD COLUMN IF NOT EXISTS clawback_minor SimpleAggregateFunction(sum, Int64)
;
ALTER TABLE rollup_day {on_cluster}
    ADD COLUMN IF NOT EXISTS unverified SimpleAggregateFunction(sum, Int64),
    ADD COLUMN IF NOT EXISTS clawback_minor SimpleAggregateFunction(sum, Int64)
