"""Lists events and conversions."""
