"""ClickHouse in, HTTP out. Writes nothing."""
