"""Attacks a running installation, and measures what others notice of it."""
