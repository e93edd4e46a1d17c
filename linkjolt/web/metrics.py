"""Declares the metrics of every listener."""

from prometheus_client import Counter, Gauge

CONNECTIONS = Gauge(
    "linkjolt_connections",
    "Open connections of a listener.",
    multiprocess_mode="livesum",
)
CONNECTIONS_CLOSED = Counter(
    "linkjolt_connections_closed",
    "Connections that a listener closed before their clients did: for room, a late head or body,"
    " answers that nobody reads, too many requests behind one.",
    ["reason"],
)
