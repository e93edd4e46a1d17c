"""Pulls the rollups from raw events."""
