"""Declares the metrics of authentication and rate limits, on every listener."""

from prometheus_client import Counter

KEYS_REFUSED_BY_ADDRESS = Counter(
    "linkjolt_keys_refused_by_address",
    "Requests that name an API key from outside the networks that it is allowed from.",
)
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
