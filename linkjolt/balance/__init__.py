"""Counts what was accepted against what is stored."""
