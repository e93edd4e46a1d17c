"""Declares people, and writes their entries."""
