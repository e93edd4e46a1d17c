"""Declares the metrics of authentication and rate limits, on every listener."""

from prometheus_client import Counter

RATE_LIMITED = Counter(
    "linkjolt_rate_limited",
    "Requests refused because a key, an account or an address sent too many.",
    ["limit"],
)
RATE_LEASES = Counter(
    "linkjolt_rate_leases",
    "Shares of rate limits asked of Redis: granted, refused, or unavailable.",
    ["outcome"],
)
