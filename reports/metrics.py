"""What the reports process counts."""

from prometheus_client import Counter, Gauge, Histogram

REPORT_SECONDS = Histogram(
    "linkjolt_report_seconds", "Seconds a report took, by the source that answered.", ["source"]
)
INCOMPLETE = Counter(
    "linkjolt_reports_incomplete_total", "Reports from raw events that ran into their time limit."
)
EVENTS = Gauge(
    "linkjolt_balance_events",
    "Events of a stream by state: accepted = stored + rejected + waiting + difference.",
    ["stream", "state"],
)
OLDEST_WAITING_SECONDS = Gauge(
    "linkjolt_balance_oldest_waiting_seconds",
    "Age of the oldest event of a stream that is accepted and not stored; 0 if none waits.",
    ["stream"],
)
SPOOLED = Gauge(
    "linkjolt_balance_spooled_events", "Accepted events on the edges' disks that no stream holds."
)
SHED = Gauge(
    "linkjolt_balance_shed_clicks",
    "Clicks ever redirected and lost: Redis was away and the spool full.",
)
LIVE_CLIENTS = Gauge("linkjolt_live_clients", "Clients that listen to the live feed.")
LIVE_DROPPED = Counter(
    "linkjolt_live_dropped_total",
    "Clients of the live feed that were dropped: they read too slowly.",
)
