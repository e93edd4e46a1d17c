"""Says what a write of registry entries changed, and how it ended."""
