"""Declares the metrics of the reports process."""

from prometheus_client import Counter, Gauge, Histogram

REPORT_SECONDS = Histogram(
    "linkjolt_report_seconds", "Seconds a report took, by the source that answered.", ["source"]
)
REPORTS_INCOMPLETE = Counter(
    "linkjolt_reports_incomplete_total", "Reports from raw events that ran into their time limit."
)
BEHIND_SECONDS = Gauge(
    "linkjolt_behind_seconds",
    "Seconds that reports are behind accepted events: the age of data_as_of.",
)
BALANCE_EVENTS = Gauge(
    "linkjolt_balance_events",
    "Events of a stream by state: accepted = stored + rejected + waiting + difference.",
    ["stream", "state"],
)
OLDEST_WAITING_SECONDS = Gauge(
    "linkjolt_balance_oldest_waiting_seconds",
    "Age of the oldest event of a stream that is accepted and not stored; 0 if none waits.",
    ["stream"],
)
STALE_BACKLOGS = Gauge(
    "linkjolt_balance_stale_backlogs",
    "Streams and spools in which an event waits for longer than LINKJOLT_STALE_AFTER_SECONDS.",
)
BALANCE_SPOOLED = Gauge(
    "linkjolt_balance_spooled_events", "Accepted events on the edges' disks that no stream holds."
)
BALANCE_SHED = Gauge(
    "linkjolt_balance_shed_clicks",
    "Clicks ever redirected and lost: Redis was unavailable and the spool full.",
)
LIVE_CLIENTS = Gauge("linkjolt_live_clients", "Clients that listen to the live feed.")
LIVE_CLIENTS_DROPPED = Counter(
    "linkjolt_live_dropped_total",
    "Clients of the live feed that were dropped: they read too slowly.",
)
SIGN_INS = Counter(
    "linkjolt_sign_ins",
    "Tries to sign in, by outcome: done, refused, or bounded because too many were refused.",
    ["outcome"],
)
