"""Accepts posted conversions."""
