-- The region of a visitor's country, as a trusted proxy tells it.
ALTER TABLE clicks {on_cluster} ADD COLUMN IF NOT EXISTS region String
