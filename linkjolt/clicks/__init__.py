"""Resolves a click: where it leads and what is recorded of it."""
