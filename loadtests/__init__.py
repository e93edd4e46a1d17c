"""Load and timing runs against a running instance; nothing here is a test."""
