"""Resolves a click to its redirect and its recorded line."""
