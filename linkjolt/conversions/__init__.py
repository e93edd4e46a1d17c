"""Keeps the state of conversions and adjusts it."""
