"""Serves reports from ClickHouse over HTTP; writes nothing."""
