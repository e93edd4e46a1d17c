"""Seals the secrets of the registry: at their writes, at a start, and anew in a rotation."""
