"""Streams events as they are stored."""
