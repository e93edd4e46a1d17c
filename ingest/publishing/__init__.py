"""Publishes events to the streams, or spools them while Redis is unavailable."""
