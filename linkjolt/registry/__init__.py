"""Stores campaigns, affiliates, links, keys and webhooks in Redis."""
