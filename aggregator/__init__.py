"""Streams in, ClickHouse out: the only writer of ClickHouse."""
