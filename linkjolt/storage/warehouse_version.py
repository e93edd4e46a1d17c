"""Names the migration that a warehouse must have had before this release can read it."""

NEWEST_MIGRATION = "021_rollup_day_unverified"
