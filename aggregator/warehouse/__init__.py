"""Writes raw events and migrates the tables."""
