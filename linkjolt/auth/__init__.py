"""Decides which key may do what."""
