"""Stores the log of webhook deliveries, and queues what waits for its turn in the warehouse."""
