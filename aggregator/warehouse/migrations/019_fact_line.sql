-- The line of an adjustment as it was accepted: what a row does not hold, a webhook may need later.
-- Empty for conversions, whose rows hold all, and for adjustments stored before.
ALTER TABLE conversions {on_cluster} ADD COLUMN IF NOT EXISTS fact String CODEC(ZSTD(3))
