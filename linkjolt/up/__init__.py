"""Runs a whole installation on one machine."""
