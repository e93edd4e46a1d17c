"""Replays access logs as clicks."""
