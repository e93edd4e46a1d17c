"""Erases and exports customers in the warehouse, in Redis and in its log."""
