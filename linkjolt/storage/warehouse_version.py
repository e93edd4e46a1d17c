"""Names the migration that a warehouse must have had before this release can read it."""

NEWEST_MIGRATION = "020_raw_retention"
