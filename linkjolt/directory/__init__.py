"""Holds an edge's copy of the registry in memory."""
