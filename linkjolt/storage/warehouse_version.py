"""Names the migration that a warehouse must have had before this release can read it."""

NEWEST_MIGRATION = "019_audit_log"
