"""Builds the answer of a report from sums."""
