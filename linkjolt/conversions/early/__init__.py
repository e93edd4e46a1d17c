"""Keeps adjustments that come before their conversions, and applies them when these are stored."""
