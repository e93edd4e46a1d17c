"""LinkJolt: clicks and conversions of affiliate links, each counted exactly once."""

__version__ = "0.1.0"
