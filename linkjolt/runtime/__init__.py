"""Runs processes: their life, their children, the embedded Redis server."""
