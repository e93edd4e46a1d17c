"""Connects to Redis and ClickHouse."""
