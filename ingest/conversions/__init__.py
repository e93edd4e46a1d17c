"""Takes posted conversions."""
