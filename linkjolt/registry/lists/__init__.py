"""Lists of the registry: what they search by, filter by and are sorted by."""
