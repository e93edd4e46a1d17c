-- As in 010: conversions carry the dimensions of their click.
ALTER TABLE conversions {on_cluster} ADD COLUMN IF NOT EXISTS region String
