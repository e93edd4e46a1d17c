"""Declares deliveries of webhooks: the scripts of their queue, their log, their operations."""
