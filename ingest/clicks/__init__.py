"""Answers tracking links."""
