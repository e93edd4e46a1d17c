"""Accepts postbacks and the pixel."""
