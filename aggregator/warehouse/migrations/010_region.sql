-- The region of a visitor's country, as reported by a trusted proxy.
ALTER TABLE clicks {on_cluster} ADD COLUMN IF NOT EXISTS region String
